package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/mailbox"
)

// A preparedSeal is one key of a Change's token.
type preparedSeal struct {
	GUID string `json:"g"`
	ID   string `json:"k"`
	Sum  string `json:"s"` // of the new seal's text
}

// Token names the change, so that Resume finds it again in another process: it holds ids
// and digests, no secret. A change with Force has none.
func (c *Change) Token() string {
	if len(c.lost) > 0 || c.fresh != nil {
		return ""
	}
	list := []preparedSeal{}
	for _, rec := range c.prepared {
		list = append(list, preparedSeal{rec.record.guid.String(), rec.record.id, textSum(rec.pending)})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "" // strings marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ErrToken reports a token that is none.
var ErrToken = errors.New("keys: not the token of a change")

// Resume finds a prepared change again. The error wraps ErrToken, or attrdict.ErrChanged
// where another change has come in between. A change that a login has completed, or that was
// committed, is found and can be committed again, which does nothing.
func (k *Keys) Resume(ctx context.Context, token string) (*Change, error) {
	c, gone, err := k.resume(ctx, token)
	if err == nil && gone != "" {
		err = fmt.Errorf("%w: the new seal of user key %s is gone", attrdict.ErrChanged, gone)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Abandon forgets the seals of a prepared change, and lists its keys. Seals that are not
// there any more, since an earlier call has forgotten them or another change has put its own
// in their place, are no error; those in force stay. The error wraps ErrToken.
func (k *Keys) Abandon(ctx context.Context, token string) ([]KeyResult, error) {
	c, _, err := k.resume(ctx, token)
	if err != nil {
		return nil, err
	}
	return c.Keys, c.Rollback(ctx)
}

// resume finds what is there of a prepared change, and names a key whose new seal is not.
func (k *Keys) resume(ctx context.Context, token string) (_ *Change, gone string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	var list []preparedSeal
	if err != nil || len(token) > 1<<20 || json.Unmarshal(b, &list) != nil {
		return nil, "", ErrToken
	}
	c := &Change{keys: k}
	err = k.dict.View(ctx, func(d attrdict.Reader) error {
		for _, p := range list {
			guid, err := mailbox.ParseGUID(p.GUID)
			if err != nil {
				return ErrToken
			}
			rec := userRecord{namedKey: namedKey{record: record{guid, true, p.ID}}}
			pending, err := get(d, pendingName(guid, p.ID))
			if err != nil {
				return err
			}
			text, err := get(d, userLevel(guid).private(p.ID))
			if err != nil {
				return err
			}
			rec.text = bytes.Clone(text)
			switch p.Sum {
			case textSum(pending):
				rec.pending = bytes.Clone(pending)
			case textSum(text):
				rec.pending = bytes.Clone(text)
			default:
				gone = p.ID
			}
			c.prepared = append(c.prepared, rec)
			c.Keys = append(c.Keys, KeyResult{ID: p.ID, Was: rec.text, Is: rec.pending})
		}
		return nil
	})
	return c, gone, err
}

// Undo puts the seals back that were kept at the last change, in one transaction: the old
// secret opens these keys again, and the new one does not. A key whose time is over, or that
// was sealed once more since, is left and listed with an error. With forget the kept seals are
// removed instead. No rows mean that nothing was kept.
func (k *Keys) Undo(ctx context.Context, forget bool) (rows []KeyResult, err error) {
	err = k.dict.Update(ctx, func(tx attrdict.Tx) error {
		rows = nil
		inv, err := k.inventory(tx)
		if err != nil {
			return err
		}
		for _, st := range inv.Keys {
			if !st.User || st.Kept == nil {
				continue
			}
			row := KeyResult{ID: st.ID, Active: st.Active, Was: st.Text}
			value, err := get(tx, st.level().own("kept", st.ID))
			if err != nil {
				return err
			}
			old, _ := parseKept(value)
			switch {
			case forget:
			case time.Now().After(st.KeptUntil):
				row.Err = errors.New("keys: the time in which it could be undone is over")
			case old.by != textSum(st.Text):
				row.Err = fmt.Errorf("%w: user key %s was sealed once more since", attrdict.ErrChanged, st.ID)
			default:
				row.Is = old.text
				err = errors.Join(setSeal(tx, record{st.GUID, true, st.ID}, old.text, 0), tx.Unset(pendingName(st.GUID, st.ID)))
			}
			if err == nil && (forget || row.Is != nil || time.Now().After(st.KeptUntil)) {
				err = tx.Unset(st.level().own("kept", st.ID))
			}
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keys: putting old seals back: %w", err)
	}
	return rows, nil
}

// Expire removes kept seals whose time is over.
func (k *Keys) Expire(ctx context.Context) error {
	var over []string
	find := func(d attrdict.Reader) error {
		over = nil
		return d.Iterate("priv/", func(s string, value []byte) error {
			if !isOwn(s) {
				return nil
			}
			n, ok := parseName(s)
			if !ok || n.kind != "kept" {
				return nil
			}
			if old, ok := parseKept(value); !ok || time.Now().After(old.until) {
				over = append(over, s)
			}
			return nil
		})
	}
	if err := k.dict.View(ctx, find); err != nil || len(over) == 0 {
		return err
	}
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		if err := find(tx); err != nil {
			return err
		}
		for _, s := range over {
			if err := tx.Unset(s); err != nil {
				return err
			}
		}
		return nil
	})
}
