package keycheck

import (
	"errors"
	"fmt"
	"slices"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
)

// A Verdict is what can be told of one key.
type Verdict struct {
	State State
	// Key is the record that the state is of, nil where none is stored: the key is missing,
	// or a configured one.
	Key *keys.Stored
	Err error // why the state is not Opens, where that is known
}

// A Judge tells of keys whether they can be had, from what is stored and what secrets have
// opened. Each key is looked at once. It is not safe for concurrent use.
type Judge struct {
	inv    *keys.Inventory
	opened *keys.Opened
	fixed  map[dcrypt.KeyID]bool // of configured keys
	byID   map[dcrypt.KeyID][]*keys.Stored
	seen   map[dcrypt.KeyID]Verdict
}

// NewJudge returns a Judge over the keys of a user. opened is what secrets have opened of
// them, and must outlive the Judge; with nil no key is opened, and the best of a stored one
// is Sealed. The configured private keys of c stand for stored ones.
func NewJudge(inv *keys.Inventory, opened *keys.Opened, c keys.Config) *Judge {
	j := &Judge{inv: inv, opened: opened, fixed: map[dcrypt.KeyID]bool{}, byID: map[dcrypt.KeyID][]*keys.Stored{}, seen: map[dcrypt.KeyID]Verdict{}}
	for _, key := range slices.Concat(c.SealKeys, c.OpenKeys, c.GlobalPrivate) {
		j.fixed[key.ID()] = true
		if old, ok := key.OldID(); ok {
			j.fixed[old] = true
		}
	}
	for _, st := range inv.Keys {
		for _, id := range st.IDs() {
			j.byID[id] = append(j.byID[id], st)
		}
	}
	return j
}

// Key judges the key that a stream names. Of several records of it, as copied mail leaves
// them, the best counts.
func (j *Judge) Key(id dcrypt.KeyID) Verdict {
	if v, ok := j.seen[id]; ok {
		return v
	}
	v := Verdict{State: Missing, Err: fmt.Errorf("key %s is not there", id)}
	if j.fixed[id] {
		v = Verdict{State: Opens}
	}
	for _, st := range j.byID[id] {
		if v.State == Opens {
			break
		}
		if state, err := j.record(st); better(state, v.State) || state == v.State {
			v = Verdict{state, st, err}
		}
	}
	j.seen[id] = v
	return v
}

func better(a, b State) bool { return slices.Index(order, a) < slices.Index(order, b) }

// record looks at one record of a key.
func (j *Judge) record(st *keys.Stored) (State, error) {
	switch {
	case st.Text == nil:
		return Missing, st.Check()
	case st.Check() != nil:
		return Damaged, st.Check()
	case st.Lost, st.Retired:
		return Missing, fmt.Errorf("key %s is set aside", st.ID)
	}
	err := j.open(st)
	if err == nil && j.opened != nil {
		return Opens, nil
	}
	if by, ok := st.Wrapper(); ok && !st.User && !j.WrapperThere(by) {
		return Orphan, fmt.Errorf("the user key %s that wraps key %s is not there", by, st.ID)
	}
	if err == nil || st.User || errors.Is(err, dcrypt.ErrNoKey) {
		return Sealed, err
	}
	return Damaged, err
}

// open is nil where nothing can be opened.
func (j *Judge) open(st *keys.Stored) error {
	switch {
	case j.opened == nil:
		return nil
	case st.User:
		_, err := j.opened.UserKey(st)
		return err
	}
	key, err := j.opened.FolderKey(st)
	if err == nil {
		key.Destroy()
	}
	return err
}

// WrapperThere reports whether the user key of an id is stored, and is a key, or a
// configured one can stand for it.
func (j *Judge) WrapperThere(id dcrypt.KeyID) bool {
	return j.fixed[id] || slices.ContainsFunc(j.byID[id], func(st *keys.Stored) bool {
		return st.User && st.Text != nil && !st.Lost && st.Check() == nil
	})
}

// Configured reports whether an id is that of a configured private key.
func (j *Judge) Configured(id dcrypt.KeyID) bool { return j.fixed[id] }

// Active judges the key that new mail of a folder, or with user new folder keys, are
// encrypted to; ok is false where none is active, and the next delivery makes one. The
// public half must be there, too: without it the state is Damaged.
func (j *Judge) Active(folder mailbox.GUID, user bool) (id dcrypt.KeyID, v Verdict, ok bool) {
	name := j.inv.Active[folder]
	if user {
		name = ""
		if folder == j.inv.Inbox {
			name = j.inv.ActiveUser
		}
	}
	if name == "" {
		return id, v, false
	}
	id, err := dcrypt.ParseKeyID(name)
	if err != nil {
		return dcrypt.KeyID{}, Verdict{State: Damaged, Err: errors.New("what is called the active key is no id")}, true
	}
	v = j.Key(id)
	here := slices.ContainsFunc(j.byID[id], func(st *keys.Stored) bool { return st.GUID == folder && st.User == user && st.Public() != nil })
	if !here && (v.State == Opens || v.State == Sealed) {
		v.State, v.Err = Damaged, errors.New("the public half of the active key is missing or damaged")
	}
	return id, v, true
}

// Warnings are what is not wrong and asks for attention.
func (j *Judge) Warnings() []string {
	var list []string
	for _, st := range j.inv.Keys {
		format := ""
		switch {
		case st.Pending != nil:
			format = "a change of the seal of user key %s was prepared and has not ended"
		case st.Lost:
			format = "user key %s is set aside: nothing opened it when the password was reset"
		case st.Retired:
			format = "key %s was about to be destroyed, and was not: retire it again"
		default:
			continue
		}
		list = append(list, fmt.Sprintf(format, st.ID))
	}
	return list
}
