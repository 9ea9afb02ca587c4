package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

const (
	// maxUserKeys bounds how many user keys are looked at.
	maxUserKeys = 1000
	// unlockRounds bounds what one login spends on password seals beside the active key's,
	// some four seconds of a core: a stored number must not decide how long a login takes.
	unlockRounds = 10_000_000
)

// A userRecord is a stored user key with the seal that a password change has prepared.
type userRecord struct {
	namedKey
	pending []byte
	lost    []byte // the key's text where it was set aside, and text is nil
	counts  []byte // of a change that was cut off: the seal that the old secret opens
}

// Unlock opens what a login's secret opens and returns it as a Ring, which the caller
// closes. A secret that opens nothing is no error: the ring then reads nothing, and
// State().Locked() says so.
//
// It also does what only a login can do: makes the user's first key; completes a
// password change that was cut off, raises seals that are weaker than configured and seals
// keys found open where sealing is required, for all keys at once; and stops encrypting to
// an active key whose private half is not the user's: at once where that shows without opening
// INBOX's folder key, else see VerifyFolder. Each is its own transaction, and a
// failure of one is logged and costs the login nothing. A login that cannot prove itself, because
// there are sealed keys and its secret opens none, changes nothing, even if other keys
// lie open.
func (k *Keys) Unlock(ctx context.Context, secret Secret) (*Ring, error) {
	c := k.Config()
	if !secret.Known() && c.Password.Known() {
		secret = c.Password
	}
	r, opened, records, err := k.unlock(ctx, c, secret)
	if err != nil {
		return nil, err
	}
	r.state.Unproven = !r.judge(opened, records)
	if !r.state.Unproven {
		k.mend(ctx, r, c, opened, records, secret)
	}
	return r, nil
}

// Look opens what opens without a secret of the user's, for somebody else who may look: a
// master user. Nothing is changed, whatever is found, and the ring trusts no key, so that
// nothing is changed by it later. Its state is Unproven.
func (k *Keys) Look(ctx context.Context) (*Ring, error) {
	r, _, _, err := k.unlock(ctx, k.Config(), AbsentSecret())
	if err != nil {
		return nil, err
	}
	r.state.Unproven = true
	return r, nil
}

// unlock opens what a secret opens.
func (k *Keys) unlock(ctx context.Context, c Config, secret Secret) (*Ring, []openedKey, []userRecord, error) {
	records, more, err := k.userRecords(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if more {
		k.log.Warn("there are too many user keys; some are not looked at", "limit", maxUserKeys)
	}
	r := newRing(k, slices.Concat(c.GlobalPrivate, c.SealKeys))
	opened, err := k.openAll(ctx, r, records, secret)
	if err != nil {
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	return r, opened, records, nil
}

// An openedKey is a user key that a login has opened.
type openedKey struct {
	rec       userRecord
	key       *dcrypt.PrivateKey
	byPending bool // by the seal that a password change has prepared
	proven    bool // by the login's secret or a configured key
}

// openAll tries the records, each key once, until no further one opens: a user key may be
// wrapped by another.
func (k *Keys) openAll(ctx context.Context, r *Ring, records []userRecord, secret Secret) ([]openedKey, error) {
	var opened []openedKey
	ids := map[string]bool{}
	budget := unlockRounds
	for i, rec := range records {
		ids[rec.record.id] = true
		if i == 0 {
			continue // the active one, or the only one, is tried whatever it costs
		}
		if cost := rounds(rec.text) + rounds(rec.pending); cost > budget {
			k.log.Warn("user key is not tried: its seal costs too much", "key", rec.record.id)
			records[i].text, records[i].pending = nil, nil
		} else {
			budget -= cost
		}
	}
	r.state.UserKeys = len(ids)
	waiting := slices.Clone(records)
	for again := true; again; {
		again = false
		var locked []userRecord
		for _, rec := range waiting {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			o, err := k.openOne(r, rec, secret)
			switch {
			case errors.Is(err, errStop): // its key is open already
			case err == nil:
				remember(r.user, o.key)
				opened = append(opened, o)
				again = true
			case errors.Is(err, dcrypt.ErrNoKey):
				locked = append(locked, rec)
			default:
				k.log.Info("user key stays locked", "key", rec.record.id, "err", err)
			}
		}
		waiting = locked
	}
	for _, rec := range waiting {
		k.log.Info("user key stays locked: the key that seals it is not at hand", "key", rec.record.id)
	}
	r.state.Opened = len(opened)
	return opened, nil
}

// rounds is what trying a password on a key text costs.
func rounds(text []byte) int {
	info, err := dcrypt.Inspect(text)
	if err != nil || info.Protection != dcrypt.ByPassword {
		return 0
	}
	return info.Rounds
}

// openOne tries one user key: as it is, then by the pending seal.
func (k *Keys) openOne(r *Ring, rec userRecord, secret Secret) (openedKey, error) {
	if id, err := dcrypt.ParseKeyID(rec.record.id); err == nil && r.user[id] != nil {
		return openedKey{}, errStop
	}
	opener := dcrypt.Opener{Keys: finder(r.wrapper), Known: k.Config().Memory.Known()}
	if secret.Known() {
		opener.Password = secret.bytes
	}
	key, err := openUserKey(rec.record.id, rec.text, opener)
	if err == nil && rec.lost == nil {
		return openedKey{rec: rec, key: key, proven: r.proves(rec.text)}, nil
	}
	if rec.pending != nil {
		if key, perr := openUserKey(rec.record.id, rec.pending, opener); perr == nil {
			return openedKey{rec: rec, key: key, byPending: true, proven: r.proves(rec.pending)}, nil
		}
	}
	return openedKey{}, err
}

// userRecords lists the user's private keys, INBOX's own first and of these the active one
// at the very front; of the others the cheap ones come first. Those under other GUIDs
// count too: where Dovecot has renamed INBOX, they stay with the renamed folder.
func (k *Keys) userRecords(ctx context.Context) (records []userRecord, more bool, err error) {
	err = k.dict.View(ctx, func(d attrdict.Reader) error {
		var names []namedKey
		if names, more, err = privateNames(d, true, maxUserKeys); err != nil {
			return err
		}
		active, err := get(d, userLevel(k.inbox).active())
		if err != nil {
			return err
		}
		rank := func(rec userRecord) int {
			switch {
			case rec.record.guid == k.inbox && rec.record.id == string(active):
				return 0
			case rec.record.guid == k.inbox:
				return 1
			}
			return 2
		}
		records = make([]userRecord, 0, len(names))
		for _, n := range names {
			pending, err := get(d, pendingName(n.record.guid, n.record.id))
			if err != nil {
				return err
			}
			n.text = slices.Clone(n.text)
			records = append(records, userRecord{namedKey: n, pending: slices.Clone(pending)})
		}
		lost, err := returning(d)
		if err != nil {
			return err
		}
		records = append(records, lost...)
		slices.SortStableFunc(records, func(a, b userRecord) int {
			if d := rank(a) - rank(b); d != 0 {
				return d
			}
			return rounds(a.text) - rounds(b.text)
		})
		return nil
	})
	return records, more, err
}

// returning are the user keys that were set aside and have a new seal prepared: a change that
// brings them back was cut off.
func returning(d attrdict.Reader) (records []userRecord, err error) {
	err = d.Iterate("priv/", func(s string, text []byte) error {
		if !isOwn(s) {
			return nil
		}
		n, ok := parseName(s)
		if !ok || !n.user || n.kind != "lost" || len(records) == maxUserKeys {
			return nil
		}
		rec := userRecord{namedKey: namedKey{record: n.record}, lost: slices.Clone(text)}
		pending, err := get(d, pendingName(n.guid, n.id))
		if rec.pending = slices.Clone(pending); err == nil && pending != nil {
			records = append(records, rec)
		}
		return err
	})
	return records, err
}

// openUserKey opens a key text and checks that it is the key of its name.
func openUserKey(id string, text []byte, o dcrypt.Opener) (*dcrypt.PrivateKey, error) {
	want, err := dcrypt.ParseKeyID(id)
	if err != nil {
		return nil, err
	}
	key, err := dcrypt.ParsePrivateKey(text, o)
	if err != nil {
		return nil, err
	}
	if !matches(key, want) {
		key.Destroy()
		return nil, fmt.Errorf("%w: user key %s is another key", ErrBadKey, id)
	}
	return key, nil
}
