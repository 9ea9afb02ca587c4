package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
)

// A checker finds out of every key whether it can be had.
type checker struct {
	*job
	inv     *keys.Inventory
	opened  *keys.Opened // nil where no secret is given: being there is enough
	byID    map[dcrypt.KeyID][]*keys.Stored
	verdict map[dcrypt.KeyID]CheckedKey
	result  *CheckResult
	rows    int
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
		c := &checker{job: j, byID: map[dcrypt.KeyID][]*keys.Stored{}, verdict: map[dcrypt.KeyID]CheckedKey{}, result: &result, rows: cmp.Or(r.Rows, 1000)}
		if c.inv, err = j.Keys.Inventory(ctx); err != nil {
			return err
		}
		for _, st := range c.inv.Keys {
			for _, id := range st.IDs() {
				c.byID[id] = append(c.byID[id], st)
			}
		}
		if len(r.Secrets) > 0 {
			if c.opened, err = j.Keys.Open(ctx, c.inv, secrets); err != nil {
				return err
			}
			defer c.opened.Close()
		}
		want := func(f account.NamedFolder) bool {
			return len(r.Folders) == 0 || matchAny(r.Folders, f.Name, j.Separator())
		}
		if err := c.messages(ctx, want); err != nil {
			return err
		}
		c.active(want)
		c.warnings()
		return c.conclude()
	})
	return result, err
}

// messages looks at the keys of all messages.
func (c *checker) messages(ctx context.Context, want func(account.NamedFolder) bool) error {
	n := &needs{byKey: map[dcrypt.KeyID]map[mailbox.GUID]int64{}, scan: c.Scan(want)}
	n.scan.Report = func(folder string, done, total int) {
		c.report.report(Progress{What: "reading headers", Place: folder, Done: int64(done), Total: int64(total)})
	}
	_, err := n.scan.Round(ctx, func(h account.StoredHeader) error {
		n.add(h)
		c.message(h)
		return nil
	})
	n.Scan.Folders = n.scan.Folders
	c.result.Scan = n.Scan
	if err != nil {
		return err
	}
	for id, row := range c.verdict {
		row.Messages = n.total(id)
		c.verdict[id] = row
	}
	return nil
}

// message notes a message that nothing opens.
func (c *checker) message(h account.StoredHeader) {
	row := UnreadableMessage{Folder: h.Folder.Name, UID: uint32(h.UID)}
	switch {
	case h.Err != nil:
		row.Error = h.Err.Error()
	case h.Header == nil:
		return
	default:
		for _, to := range h.Header.Recipients {
			v := c.look(to.ID, h.Folder)
			if v.Condition == KeyOK {
				return
			}
			row.Keys = append(row.Keys, to.ID.String())
			row.Error = v.Error
		}
		if len(h.Header.Recipients) == 0 {
			row.Error = "the message is encrypted to nobody"
		}
	}
	if len(c.result.Missing) < c.rows {
		c.result.Missing = append(c.result.Missing, row)
	} else {
		c.result.MoreMissing++
	}
}

// look finds out whether a key can be had, once for each.
func (c *checker) look(id dcrypt.KeyID, where account.NamedFolder) CheckedKey {
	if v, ok := c.verdict[id]; ok {
		return v
	}
	v := CheckedKey{KeyRef: KeyRef{ID: id.String(), GUID: where.GUID.String(), Folder: where.Name}, Condition: KeyMissing,
		Error: fmt.Sprintf("key %s is not there", id)}
	if c.configured(id) {
		v.Condition, v.Error = KeyOK, ""
	}
	for _, st := range c.byID[id] {
		if v.Condition == KeyOK {
			break
		}
		condition, err := c.try(st)
		if rank(condition) <= rank(v.Condition) {
			v.KeyRef, v.Active, v.Condition, v.Error = c.ref(st), st.Active, condition, ""
			if err != nil {
				v.Error = err.Error()
			}
		}
	}
	c.verdict[id] = v
	return v
}

// rank puts the better of two conditions first.
func rank(condition string) int {
	return slices.Index([]string{KeyOK, KeyLocked, KeyDamaged, KeyMissing}, condition)
}

// try looks at one record of a key.
func (c *checker) try(st *keys.Stored) (string, error) {
	switch {
	case st.Text == nil:
		return KeyMissing, st.Check()
	case st.Check() != nil:
		return KeyDamaged, st.Check()
	case st.Lost, st.Retired:
		return KeyMissing, fmt.Errorf("key %s is set aside", st.ID)
	case c.opened == nil:
		if by, ok := st.Wrapper(); ok && !st.User && !c.wrapperThere(c.inv, by) {
			return KeyMissing, fmt.Errorf("the user key %s that wraps key %s is not there", by, st.ID)
		}
		return KeyOK, nil
	case st.User:
		if _, err := c.opened.UserKey(st); err != nil {
			return KeyLocked, err
		}
		return KeyOK, nil
	}
	key, err := c.opened.FolderKey(st)
	if err == nil {
		key.Destroy()
		return KeyOK, nil
	}
	if by, ok := st.Wrapper(); ok && !c.wrapperThere(c.inv, by) {
		return KeyMissing, fmt.Errorf("the user key %s that wraps key %s is not there", by, st.ID)
	}
	if errors.Is(err, dcrypt.ErrNoKey) {
		return KeyLocked, err
	}
	return KeyDamaged, err
}

// active looks at the keys that new mail will need.
func (c *checker) active(want func(account.NamedFolder) bool) {
	if c.Keys.Config().Global != nil {
		return
	}
	check := func(s string, where account.NamedFolder, user bool) {
		id, err := dcrypt.ParseKeyID(s)
		if err != nil {
			c.verdict[dcrypt.KeyID{}] = CheckedKey{KeyRef: KeyRef{User: user, GUID: where.GUID.String(), Folder: where.Name}, Active: true,
				Condition: KeyDamaged, Error: "what is called the active key is no id"}
			return
		}
		v := c.look(id, where)
		v.Active, v.User = true, user
		here := slices.IndexFunc(c.byID[id], func(st *keys.Stored) bool { return st.GUID == where.GUID && st.User == user })
		if v.Condition == KeyOK && (here < 0 || c.byID[id][here].Public == nil) {
			v.Condition, v.Error = KeyDamaged, "the public half of the active key is missing or damaged"
		}
		c.verdict[id] = v
	}
	for _, f := range c.folders {
		if s := c.inv.Active[f.GUID]; s != "" && want(f) {
			check(s, f, false)
		}
		if f.GUID == c.inv.Inbox && c.inv.ActiveUser != "" {
			check(c.inv.ActiveUser, f, true)
		}
	}
}

func (c *checker) warnings() {
	for _, st := range c.inv.Keys {
		switch {
		case st.Pending != nil:
			c.warn("a change of the seal of user key %s was prepared and has not ended", st)
		case st.Lost:
			c.warn("user key %s is set aside: nothing opened it when the password was reset", st)
		case st.Retired:
			c.warn("key %s was about to be destroyed, and was not: retire it again", st)
		}
	}
}

func (c *checker) warn(format string, st *keys.Stored) {
	c.result.Warnings = append(c.result.Warnings, fmt.Sprintf(format, st.ID))
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
