package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// A Seal says how user keys are to be sealed: by a password, to a key, or not at all.
type Seal struct {
	Password Secret
	Key      *dcrypt.PublicKey
	Open     bool // leave the key in the clear; must be asked for
	// PasswordOnly leaves alone what no password seals: keys sealed to a key, and keys in
	// the clear. So a change of the login password does not take a key for the user's that
	// somebody has put there.
	PasswordOnly bool
	// Only restricts it to these ids; empty means all.
	Only []string
	// All changes nothing where not every key opens; the rows say so.
	All bool
	// Force goes on past keys that nothing opens: Commit sets them aside, makes another
	// key active where the active one is among them, and lets folders whose keys hang on
	// them get new ones.
	Force bool
	// KeepOld keeps old seals that long, for Undo.
	KeepOld time.Duration
}

// A KeyResult tells what became of one user key.
type KeyResult struct {
	ID     string
	Active bool
	Was    []byte // its text before, sealed; nil of one that is made
	Is     []byte // and after; nil where it is left or set aside
	// Already says that the new secret opened it and no old one: an earlier call got so far.
	Already bool
	// Restored says that it had been set aside and comes back; Made that it is new; SetAside
	// that it is lost, and FolderKeys how many records of folder keys only it opens.
	Restored, Made, SetAside bool
	FolderKeys               int
	Err                      error // nil: it has the new seal, or is set aside

	opened bool
}

// A Change is new seals of user keys, stored beside the present ones. It ends with Commit
// or Rollback; where it ends with neither, because of a crash say, both seals open, and a
// login with the new secret completes it.
type Change struct {
	Keys []KeyResult
	// KeepOld keeps the old seals that long after Commit, for Undo.
	KeepOld time.Duration
	// Reset are, after a Commit with Force, the folders whose active key is active no more.
	Reset []mailbox.GUID

	keys     *Keys
	prepared []userRecord // with the new seal as pending
	done     []userRecord // that have the new seal already
	lost     []userRecord // that Commit sets aside
	fresh    *Generated   // a user key that Commit makes active
}

// Prepare seals every user key that one of the old secrets opens anew and stores the
// results beside the present seals, which stay: until Commit the old secret counts, and
// a login with the new one completes the change by itself. It is one transaction. The
// new seals have been read back from the dictionary when it returns. A key that no old
// secret opens is listed with an error wrapping ErrPassword and is not changed; where
// such a key is not INBOX's, but lies where INBOX was before Dovecot renamed it, it is not
// listed. A key that was set aside is listed only where a secret opens it: it comes back.
func (k *Keys) Prepare(ctx context.Context, old []Secret, to Seal) (*Change, error) {
	for tries := 0; ; tries++ {
		change, err := k.prepare(ctx, old, to)
		// A login may have raised a seal meanwhile.
		if err == nil || tries == 2 || !errors.Is(err, attrdict.ErrChanged) {
			return change, err
		}
	}
}

func (k *Keys) prepare(ctx context.Context, old []Secret, to Seal) (*Change, error) {
	c := k.Config()
	records, more, err := k.userRecords(ctx)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, fmt.Errorf("%w: there are more than %d user keys", ErrBadKey, maxUserKeys)
	}
	inv, err := k.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	records = append(records, inv.lost(records)...)
	change := &Change{keys: k, KeepOld: to.KeepOld}
	seen := map[string]bool{}
	failed := false
	for _, rec := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text := rec.text
		if rec.lost != nil {
			text = rec.lost
		}
		if seen[rec.record.id] || to.PasswordOnly && !isPasswordText(text) || len(to.Only) > 0 && !slices.Contains(to.Only, rec.record.id) {
			continue
		}
		row, next := k.prepareOne(rec, old, to, c)
		if row.Err != nil && (rec.lost != nil || rec.record.guid != k.inbox) && errors.Is(row.Err, ErrPassword) {
			continue
		}
		seen[rec.record.id] = true
		row.Active = rec.record.guid == k.inbox && rec.record.id == inv.ActiveUser
		switch {
		case row.Err != nil && to.Force && !row.opened:
			row.SetAside, row.FolderKeys, row.Err = true, inv.hanging(rec.record.id), nil
			change.lost = append(change.lost, rec)
		case row.Err != nil:
			failed = true
		case row.Already:
			change.done = append(change.done, rec)
		default:
			change.prepared = append(change.prepared, next)
		}
		change.Keys = append(change.Keys, row)
	}
	if failed && to.All {
		change.prepared, change.done = nil, nil
		return change, nil
	}
	if err := change.replaceActive(inv, to, c); err != nil {
		return nil, err
	}
	if len(change.prepared) == 0 && change.fresh == nil {
		return change, nil
	}
	if err := k.dict.Update(ctx, change.store); err != nil {
		return nil, fmt.Errorf("keys: storing new seals: %w", err)
	}
	return change, change.readBack(ctx)
}

// lost are the records of user keys that were set aside and are not among records.
func (inv *Inventory) lost(records []userRecord) []userRecord {
	var list []userRecord
	for _, st := range inv.Keys {
		there := slices.ContainsFunc(records, func(r userRecord) bool { return r.record.id == st.ID })
		if st.User && st.Lost && !there {
			rec := userRecord{namedKey: namedKey{record: record{st.GUID, true, st.ID}}, lost: st.Text, pending: st.Pending}
			list = append(list, rec)
		}
	}
	return list
}

// hanging counts the records of folder keys that a user key wraps.
func (inv *Inventory) hanging(id string) int {
	n := 0
	for _, st := range inv.Keys {
		if by, ok := st.Wrapper(); ok && !st.User && by.String() == id {
			n++
		}
	}
	return n
}

// replaceActive finds, or makes, the user key that takes the place of an active one that is
// lost.
func (c *Change) replaceActive(inv *Inventory, to Seal, config Config) error {
	activeLost := slices.ContainsFunc(c.lost, func(rec userRecord) bool {
		return rec.record.guid == inv.Inbox && rec.record.id == inv.ActiveUser
	})
	if !activeLost {
		return nil
	}
	for _, rec := range slices.Concat(c.done, c.prepared) {
		if st := inv.find(rec.record); st != nil && st.Public() != nil && rec.record.guid == inv.Inbox {
			c.fresh = &Generated{ID: rec.record.id, replace: inv.ActiveUser}
			return nil
		}
	}
	g := &Generated{GUID: inv.Inbox, replace: inv.ActiveUser}
	if err := g.make(config, func(key *dcrypt.PrivateKey) ([]byte, error) { return seal(key, to, config) }); err != nil {
		return fmt.Errorf("keys: making a user key in the place of the lost one: %w", err)
	}
	c.fresh = g
	c.Keys = append(c.Keys, KeyResult{ID: g.ID, Active: true, Is: g.text, Made: true})
	return nil
}

func (inv *Inventory) find(r record) *Stored {
	for _, st := range inv.Keys {
		if st.GUID == r.guid && st.User == r.user && st.ID == r.id {
			return st
		}
	}
	return nil
}

// store is the transaction of Prepare.
func (c *Change) store(tx attrdict.Tx) error {
	for _, rec := range c.prepared {
		name := userLevel(rec.record.guid).private(rec.record.id)
		now, err := get(tx, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, rec.text) || (now == nil) != (rec.text == nil) {
			return fmt.Errorf("%w: user key %s", attrdict.ErrChanged, rec.record.id)
		}
		pending := pendingName(rec.record.guid, rec.record.id)
		if rec.counts != nil {
			// The old secret is that of a change which was not ended. It must go on to open.
			if now, err = get(tx, pending); err == nil && !bytes.Equal(now, rec.counts) {
				err = fmt.Errorf("%w: user key %s", attrdict.ErrChanged, rec.record.id)
			}
			if err == nil {
				err = setSeal(tx, rec.record, rec.counts, 0)
			}
			if err != nil {
				return err
			}
		}
		if err := tx.Set(pending, rec.pending); err != nil {
			return err
		}
	}
	if g := c.fresh; g != nil && g.text != nil {
		l := userLevel(c.keys.inbox)
		return errors.Join(tx.Set(l.private(g.ID), g.text), tx.Set(l.public(g.ID), []byte(g.pub.Text())))
	}
	return nil
}

func isPasswordText(text []byte) bool {
	info, err := dcrypt.Inspect(text)
	return err == nil && info.Protection == dcrypt.ByPassword
}

// prepareOne opens a user key and gives it the new seal, as the pending one of next.
func (k *Keys) prepareOne(rec userRecord, old []Secret, to Seal, c Config) (row KeyResult, next userRecord) {
	row = KeyResult{ID: rec.record.id, Was: rec.text, Restored: rec.lost != nil}
	if rec.lost != nil {
		row.Was = rec.lost
	}
	next = rec
	next.pending = nil
	key, err := openWithAny(rec.record.id, row.Was, old, c)
	if err != nil && rec.pending != nil {
		var perr error
		if key, perr = openWithAny(rec.record.id, rec.pending, old, c); perr == nil {
			err, next.counts = nil, rec.pending
		}
	}
	if err != nil && to.holds(c, rec.record.id, row.Was) && rec.lost == nil {
		row.Already, row.Is = true, rec.text
		return row, next
	}
	if err != nil {
		row.Err = err
		return row, next
	}
	defer key.Destroy()
	row.opened = true
	info, err := dcrypt.Inspect(row.Was)
	if err == nil && info.Format == dcrypt.FormatV1 {
		next.pending, row.Err = sealV1(key, to, c)
	} else {
		next.pending, row.Err = seal(key, to, c)
	}
	if row.Err == nil {
		row.Is = next.pending
	}
	return row, next
}

// holds reports whether a text has the wanted seal.
func (to Seal) holds(c Config, id string, text []byte) bool {
	switch {
	case to.Key != nil:
		by, ok := wrapperOf(text)
		return ok && hasID(to.Key, by)
	case to.Password.Known():
		key, err := openUserKey(id, text, dcrypt.Opener{Password: to.Password.bytes, Known: c.Memory.Known()})
		if err != nil || !isPasswordText(text) {
			return false
		}
		key.Destroy()
		return true
	}
	return to.Open && isOpenText(text)
}

// seal gives a user key its new stored form.
func seal(key *dcrypt.PrivateKey, to Seal, c Config) ([]byte, error) {
	switch {
	case to.Key != nil:
		text, err := dcrypt.SealKey(key, to.Key, dcrypt.SealOptions{})
		if err != nil {
			return nil, fmt.Errorf("keys: sealing user key %s: %w", key.ID(), err)
		}
		// Read back where the private half is at hand.
		finder := dcrypt.KeyList(slices.Concat(c.SealKeys, c.OpenKeys))
		if _, err := finder.PrivateKey(to.Key.ID()); err != nil {
			return text, nil
		}
		return text, sealHolds(key, text, dcrypt.Opener{Keys: finder, Known: c.Memory.Known()})
	case to.Password.Known():
		return resealed(key, to.Password, c)
	case to.Open:
		return key.Text(), nil
	}
	return nil, errors.New("keys: no new seal is given")
}

// sealV1 is seal for a key that stands under its old id, where Dovecot looks for a text of
// version 1. Its passwords are hex digits; Dovecot can read no other form there.
func sealV1(key *dcrypt.PrivateKey, to Seal, c Config) (text []byte, err error) {
	opener := dcrypt.Opener{Known: c.Memory.Known()}
	switch {
	case to.Key != nil:
		text, err = dcrypt.SealKeyV1(key, to.Key)
		finder := dcrypt.KeyList(slices.Concat(c.SealKeys, c.OpenKeys))
		if _, missing := finder.PrivateKey(to.Key.ID()); missing != nil && err == nil {
			return text, nil
		}
		opener.Keys = finder
	case to.Password.Known():
		text, err = dcrypt.SealPasswordV1(key, to.Password.Bytes())
		opener.Password = to.Password.bytes
	case to.Open:
		text, err = dcrypt.TextV1(key)
	default:
		err = errors.New("no new seal is given")
	}
	if err != nil {
		return nil, fmt.Errorf("keys: sealing user key %s, which has the form of version 1: %w", key.ID(), err)
	}
	return text, sealHolds(key, text, opener)
}

// openWithAny opens a user key with the first of the secrets, or configured keys, that
// does.
func openWithAny(id string, text []byte, old []Secret, c Config) (*dcrypt.PrivateKey, error) {
	if !isPasswordText(text) {
		old = nil
	}
	var firstErr error
	for _, s := range append([]Secret{{}}, old...) {
		opener := dcrypt.Opener{Keys: dcrypt.KeyList(slices.Concat(c.SealKeys, c.OpenKeys)), Known: c.Memory.Known()}
		if s.Known() {
			opener.Password = s.bytes
		}
		key, err := openUserKey(id, text, opener)
		if err == nil {
			return key, nil
		}
		if firstErr == nil || s.Known() {
			firstErr = err
		}
	}
	if errors.Is(firstErr, dcrypt.ErrPassword) || errors.Is(firstErr, dcrypt.ErrPasswordRequired) {
		return nil, fmt.Errorf("%w for user key %s", ErrPassword, id)
	}
	return nil, fmt.Errorf("keys: opening user key %s: %w", id, firstErr)
}
