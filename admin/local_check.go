package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/keycheck"
	"mailcrypt/keys"
)

// A checker finds out of every key whether it can be had.
type checker struct {
	*job
	judge   *keycheck.Judge
	opens   bool // secrets are given: being there is not enough
	verdict map[dcrypt.KeyID]CheckedKey
	result  *CheckResult
	rows    int
	groups  []*addressed
	needs   *needs
}

// Check implements Service. It reads headers only: whether messages are whole is not looked
// at.
func (l *Local) Check(ctx context.Context, r CheckRequest) (CheckResult, error) {
	var result CheckResult
	err := l.on(ctx, r.User, false, func(j *job) error {
		secrets, done, err := l.secrets(j, r.Secrets)
		if err != nil {
			return err
		}
		defer done()
		c := &checker{job: j, opens: len(r.Secrets) > 0, verdict: map[dcrypt.KeyID]CheckedKey{}, result: &result, rows: cmp.Or(r.Rows, 1000)}
		want := func(f account.NamedFolder) bool {
			return len(r.Folders) == 0 || matchAny(r.Folders, f.Name, j.Separator())
		}
		if err := c.headers(ctx, want); err != nil {
			return err
		}
		inv, err := j.Keys.Inventory(ctx)
		if err != nil {
			return err
		}
		var opened *keys.Opened
		if c.opens {
			if opened, err = j.Keys.Open(ctx, inv, secrets); err != nil {
				return err
			}
			defer opened.Close()
		}
		c.judge = keycheck.NewJudge(inv, opened, j.Keys.Config())
		c.messages()
		c.active(want)
		result.Warnings = c.judge.Warnings()
		return c.conclude()
	})
	return result, err
}

// look finds out whether a key can be had, once for each.
func (c *checker) look(id dcrypt.KeyID, where account.NamedFolder) CheckedKey {
	if v, ok := c.verdict[id]; ok {
		return v
	}
	v := c.row(c.judge.Key(id), id, where)
	c.verdict[id] = v
	return v
}

// row puts a verdict into the words of the answer.
func (c *checker) row(v keycheck.Verdict, id dcrypt.KeyID, where account.NamedFolder) CheckedKey {
	row := CheckedKey{KeyRef: KeyRef{ID: id.String(), GUID: where.GUID.String(), Folder: where.Name}, Condition: KeyMissing}
	if v.Key != nil {
		row.KeyRef, row.Active = c.ref(v.Key), v.Key.Active
	}
	switch v.State {
	case keycheck.Opens:
		row.Condition = KeyOK
	case keycheck.Sealed:
		row.Condition = KeyLocked
		if !c.opens {
			row.Condition = KeyOK
		}
	case keycheck.Damaged:
		row.Condition = KeyDamaged
	}
	if v.Err != nil && row.Condition != KeyOK {
		row.Error = v.Err.Error()
	}
	return row
}

// rank puts the better of two conditions first.
func rank(condition string) int {
	return slices.Index([]string{KeyOK, KeyLocked, KeyDamaged, KeyMissing}, condition)
}

// active looks at the keys that new mail will need.
func (c *checker) active(want func(account.NamedFolder) bool) {
	if c.Keys.Config().Global != nil {
		return
	}
	check := func(f account.NamedFolder, user bool) {
		id, v, ok := c.judge.Active(f.GUID, user)
		if !ok {
			return
		}
		row := c.row(v, id, f)
		row.Active, row.User, row.Messages = true, user, c.verdict[id].Messages
		if id == (dcrypt.KeyID{}) {
			row.ID = ""
		}
		c.verdict[id] = row
	}
	for _, f := range c.folders {
		if want(f) {
			check(f, false)
		}
		check(f, true)
	}
}

// conclude sorts what was found and makes the error.
func (c *checker) conclude() error {
	bad, locked := 0, 0
	for _, v := range c.verdict {
		if v.Condition != KeyOK {
			bad++
		}
		if v.Condition == KeyLocked {
			locked++
		}
		c.result.Keys = append(c.result.Keys, v)
	}
	slices.SortFunc(c.result.Keys, func(a, b CheckedKey) int {
		return cmp.Or(-cmp.Compare(rank(a.Condition), rank(b.Condition)), boolFirst(a.User, b.User), strings.Compare(a.Folder, b.Folder), strings.Compare(a.ID, b.ID))
	})
	messages := int64(len(c.result.Missing)) + c.result.MoreMissing
	if c.result.Healthy = bad == 0 && messages == 0; c.result.Healthy {
		return nil
	}
	if bad == locked && bad > 0 {
		return fmt.Errorf("%w: %d of them, which %d messages need, do not open with what was given: try another password", ErrUnhealthy, locked, messages)
	}
	return fmt.Errorf("%w: %d of them are not there or damaged, and %d messages cannot be read", ErrUnhealthy, bad, messages)
}
