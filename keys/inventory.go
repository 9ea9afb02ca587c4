package keys

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// A Stored is a key as the dictionary has it: everything under one id of one folder, or of
// the user. Nothing of it has been opened.
type Stored struct {
	GUID mailbox.GUID // of the folder; of a user key that of INBOX
	User bool         // a user key
	ID   string       // as it is named: of version 1, its old id
	// Text is the private key, nil where there is none. It must not be changed.
	Text []byte
	// PublicText is the public key as it stands there; see Public.
	PublicText []byte
	Active     bool
	// Pending is the seal that a change has prepared and not ended; Kept is the one before
	// the last change, until KeptUntil.
	Pending, Kept []byte
	KeptUntil     time.Time
	// Lost says that Text is set aside, because nothing opened it when the password was
	// reset; Retired that a Retire has begun and not ended.
	Lost, Retired bool
	// Rotated is when another key became active in its place, as far as that is known.
	Rotated time.Time

	named  sync.Once
	ids    []dcrypt.KeyID // see publicIDs
	public sync.Once
	key    *dcrypt.PublicKey
}

// An Inventory is every key of a user, in an order that does not change: user keys first,
// then by GUID and id.
type Inventory struct {
	Keys []*Stored
	// Inbox is where user keys hang.
	Inbox mailbox.GUID
	// Active are the ids that are called active, by folder; of the user under Inbox in
	// ActiveUser. A key of that id need not be there.
	Active     map[mailbox.GUID]string
	ActiveUser string
}

type place struct {
	guid mailbox.GUID
	user bool
	id   string
}

// Inventory reads all keys. The error wraps ErrBadKey where there are more than can be
// looked at.
func (k *Keys) Inventory(ctx context.Context) (*Inventory, error) {
	var inv *Inventory
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		inv, err = k.inventory(d)
		return err
	})
	return inv, err
}

func (k *Keys) inventory(d attrdict.Reader) (*Inventory, error) {
	inv := &Inventory{Inbox: k.inbox, Active: map[mailbox.GUID]string{}}
	all := map[place]*Stored{}
	for _, scope := range []string{"priv/", "shared/"} {
		err := d.Iterate(scope, func(s string, value []byte) error {
			n, ok := parseName(s)
			if !ok {
				return nil
			}
			if n.kind == "active" {
				inv.setActive(n, string(value))
				return nil
			}
			p := place{n.guid, n.user, n.id}
			st := all[p]
			if st == nil {
				if n.kind == "rotated" || n.kind == "quarantine" {
					return nil // of a key that is gone
				}
				if len(all) == maxRecords {
					return fmt.Errorf("%w: there are more than %d keys", ErrBadKey, maxRecords)
				}
				st = &Stored{GUID: n.guid, User: n.user, ID: n.id}
				all[p] = st
			}
			st.fill(n.kind, bytes.Clone(value))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, st := range all {
		if st.User {
			st.Active = st.GUID == k.inbox && st.ID == inv.ActiveUser
		} else {
			st.Active = st.ID == inv.Active[st.GUID]
		}
		inv.Keys = append(inv.Keys, st)
	}
	slices.SortFunc(inv.Keys, func(a, b *Stored) int {
		if a.User != b.User {
			if a.User {
				return -1
			}
			return 1
		}
		return cmp.Or(bytes.Compare(a.GUID[:], b.GUID[:]), cmp.Compare(a.ID, b.ID))
	})
	return inv, nil
}

func (inv *Inventory) setActive(n name, id string) {
	switch {
	case !n.user:
		inv.Active[n.guid] = id
	case n.guid == inv.Inbox:
		inv.ActiveUser = id
	}
}

// fill takes one attribute of the key in.
func (st *Stored) fill(kind string, value []byte) {
	switch kind {
	case "privkeys":
		st.Text, st.Lost, st.Retired = value, false, false
	case "pubkeys":
		st.PublicText = value
	case "pending":
		st.Pending = value
	case "kept":
		if old, ok := parseKept(value); ok {
			st.Kept, st.KeptUntil = old.text, old.until
		}
	case "lost", "retired":
		if st.Text == nil {
			st.Text, st.Lost, st.Retired = value, kind == "lost", kind == "retired"
		}
	case "rotated":
		if unix, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			st.Rotated = time.Unix(unix, 0)
		}
	}
}

// publicIDs are both ids of the public text, none where by them it is not the key of its name.
func (st *Stored) publicIDs() []dcrypt.KeyID {
	st.named.Do(func() {
		id, err := dcrypt.ParseKeyID(st.ID)
		if err != nil || st.PublicText == nil {
			return
		}
		one, old, err := dcrypt.PublicIDs(st.PublicText)
		if err != nil || one != id && old != id {
			return
		}
		if st.ids = []dcrypt.KeyID{one}; !old.IsZero() {
			st.ids = append(st.ids, old)
		}
	})
	return st.ids
}

// Public is the public key, nil where there is none or it is not the key of its name.
func (st *Stored) Public() *dcrypt.PublicKey {
	st.public.Do(func() {
		if st.publicIDs() == nil {
			return
		}
		if pub, err := dcrypt.ParsePublicKey(st.PublicText); err == nil { // else no point of the curve
			st.key = pub
		}
	})
	return st.key
}

// level is where the key hangs.
func (st *Stored) level() level {
	if st.User {
		return userLevel(st.GUID)
	}
	return folderLevel(st.GUID)
}

// Has reports whether a stream or a seal that names an id means this key.
func (st *Stored) Has(id dcrypt.KeyID) bool {
	if st.ID == id.String() {
		return true
	}
	return slices.Contains(st.publicIDs(), id)
}

// IDs are the ids that streams may name the key by: its own, and its other one where the
// public key tells it.
func (st *Stored) IDs() []dcrypt.KeyID {
	var ids []dcrypt.KeyID
	if id, err := dcrypt.ParseKeyID(st.ID); err == nil {
		ids = append(ids, id)
	}
	for _, id := range st.publicIDs() {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Wrapper is the id of the key that a private text is sealed to; ok is false where it is
// sealed otherwise, or is no key.
func (st *Stored) Wrapper() (id dcrypt.KeyID, ok bool) { return wrapperOf(st.Text) }

func wrapperOf(text []byte) (id dcrypt.KeyID, ok bool) {
	info, err := dcrypt.Inspect(text)
	if err != nil || !info.Private || info.Protection != dcrypt.ByKey {
		return id, false
	}
	id, err = dcrypt.ParseKeyID(info.Protector)
	return id, err == nil
}

// Check looks whether the private text is well formed and names the key; the error wraps
// ErrBadKey.
func (st *Stored) Check() error {
	if st.Text == nil {
		return fmt.Errorf("%w: the private half of key %s is missing", ErrBadKey, st.ID)
	}
	info, err := dcrypt.Inspect(st.Text)
	switch {
	case len(st.Text) > maxText:
		err = errors.New("too long")
	case err == nil && !info.Private:
		err = errors.New("it is no private key")
	case err == nil && info.ID != st.ID:
		err = errors.New("its text names another key")
	}
	if err != nil {
		return fmt.Errorf("%w: key %s: %w", ErrBadKey, st.ID, err)
	}
	return nil
}
