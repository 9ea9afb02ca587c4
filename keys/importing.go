package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// An Import is a key to be stored, looked at and made ready by PrepareImport.
type Import struct {
	GUID     mailbox.GUID
	User     bool
	ID       string
	Text     []byte // as it will be stored
	Verified bool   // it was opened, and its computed id is ID
	Already  bool   // it is stored, be it under another seal
	Activate bool
	Err      error // it cannot be stored

	public []byte
}

// ErrConflict reports that something else is stored where a key was to go.
var ErrConflict = errors.New("keys: another key is there")

// An ImportSource is a key as it was exported.
type ImportSource struct {
	GUID     mailbox.GUID
	User     bool
	ID       string // "" where it is not given
	Public   []byte // nil where it is not given
	Private  []byte // text, PEM or JSON web key
	Activate bool
}

// PrepareImport looks at a key and seals it where it comes in the clear: a user key by
// to, a folder key to the active user key. Nothing is stored. unverified takes a sealed key
// that nothing opens, whose id is then only what it says.
func (k *Keys) PrepareImport(inv *Inventory, o *Opened, src ImportSource, secrets []Secret, to Seal, unverified bool) (im Import) {
	im = Import{GUID: src.GUID, User: src.User, ID: src.ID, Activate: src.Activate}
	if src.User {
		im.GUID = k.inbox
	}
	im.Err = k.prepareImport(&im, inv, o, src, secrets, to, unverified)
	return im
}

func (k *Keys) prepareImport(im *Import, inv *Inventory, o *Opened, src ImportSource, secrets []Secret, to Seal, unverified bool) error {
	if len(src.Private) > maxText {
		return fmt.Errorf("%w: the text is too long", ErrBadKey)
	}
	info, err := dcrypt.Inspect(src.Private)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBadKey, err)
	case !info.Private:
		return fmt.Errorf("%w: it is no private key", ErrBadKey)
	}
	key, err := k.openImport(o, src, secrets)
	var pub *dcrypt.PublicKey
	switch {
	case err == nil:
		// Folder keys that come with a user key hang on it.
		if !src.User || !o.add(key, src.Activate) {
			defer key.Destroy()
		}
		pub, im.Verified = key.Public(), true
		if im.ID, err = importID(info, pub, src.ID); err != nil {
			return err
		}
	case !unverified || !sealedText(info):
		return err
	case info.ID == "" || src.ID != "" && src.ID != info.ID:
		return fmt.Errorf("%w: it names itself %q", ErrBadKey, printable([]byte(info.ID)))
	default:
		im.ID = info.ID
		if id, err := dcrypt.ParseKeyID(info.ID); err == nil && src.User {
			o.coming[id] = true
		}
	}
	if err := im.readPublic(src.Public, pub); err != nil {
		return err
	}
	text, err := k.importText(info, key, src, inv, o, to)
	if err != nil {
		return err
	}
	im.Text = text
	return im.compare(inv.find(record{im.GUID, im.User, im.ID}))
}

// sealedText reports whether an id stands in the text, as in those of Dovecot.
func sealedText(info dcrypt.KeyInfo) bool {
	return info.Protection != dcrypt.Unprotected && (info.Format == dcrypt.FormatV1 || info.Format == dcrypt.FormatV2)
}

// openImport opens the key with whatever does.
func (k *Keys) openImport(o *Opened, src ImportSource, secrets []Secret) (*dcrypt.PrivateKey, error) {
	var failed error
	for _, s := range append([]Secret{{}}, secrets...) {
		opener := dcrypt.Opener{Keys: finder(o.wrapper)}
		if s.Known() {
			opener.Password = s.bytes
		}
		key, err := dcrypt.ParsePrivateKey(src.Private, opener)
		if err == nil {
			return key, nil
		}
		if failed == nil || s.Known() {
			failed = err
		}
	}
	switch {
	case errors.Is(failed, dcrypt.ErrPassword), errors.Is(failed, dcrypt.ErrPasswordRequired):
		return nil, fmt.Errorf("%w: no secret opens the key", ErrPassword)
	case errors.Is(failed, dcrypt.ErrNoKey):
		return nil, fmt.Errorf("keys: the key that it is sealed to is not open: %w", failed)
	}
	return nil, fmt.Errorf("%w: %w", ErrBadKey, failed)
}

// importID is the id that a key is stored under: of a sealed text of version 1 its old one.
func importID(info dcrypt.KeyInfo, pub *dcrypt.PublicKey, want string) (string, error) {
	id := pub.ID().String()
	if old, ok := pub.OldID(); ok && info.Format == dcrypt.FormatV1 && sealedText(info) {
		id = old.String() // as its text does
	}
	wanted, err := dcrypt.ParseKeyID(want)
	if want != "" && (err != nil || !hasID(pub, wanted)) {
		return "", fmt.Errorf("%w: it is key %s, not the one that it is said to be", ErrBadKey, id)
	}
	return id, nil
}

// readPublic takes the public half from the private one, or, of a key that was not opened,
// from what was given.
func (im *Import) readPublic(given []byte, pub *dcrypt.PublicKey) error {
	if given != nil {
		other, err := dcrypt.ParsePublicKey(given)
		id, iderr := dcrypt.ParseKeyID(im.ID)
		if err != nil || iderr != nil || !hasID(other, id) || pub != nil && !pub.Equal(other) {
			return fmt.Errorf("%w: the public half belongs to another key", ErrBadKey)
		}
		if pub == nil {
			pub = other
		}
	}
	if pub != nil {
		im.public = []byte(pub.Text())
	}
	if im.Activate && pub == nil {
		return fmt.Errorf("%w: a key without its public half cannot be active", ErrBadKey)
	}
	return nil
}

// importText is the text to be stored: a sealed one as it is.
func (k *Keys) importText(info dcrypt.KeyInfo, key *dcrypt.PrivateKey, src ImportSource, inv *Inventory, o *Opened, to Seal) ([]byte, error) {
	c := k.Config()
	switch {
	case sealedText(info):
		if by, ok := wrapperOf(src.Private); !src.User && (!ok || o.wrapper(by) == nil && !o.coming[by] && !inv.has(by)) {
			return nil, fmt.Errorf("%w: the user key that wraps it is not there: import that one first, or give the key in the clear", ErrBadKey)
		}
		return bytes.Clone(src.Private), nil
	case src.User && (to.Open || to.Password.Known() || to.Key != nil):
		return seal(key, to, c)
	case src.User:
		return c.sealUserKey(key, Secret{}, true)
	}
	active, err := o.next, error(nil)
	if active == nil {
		active, err = o.active(inv)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: wrapping folder key %s: %w", key.ID(), err)
	}
	text, err := dcrypt.SealKey(key, active.Public(), dcrypt.SealOptions{})
	if err != nil {
		return nil, fmt.Errorf("keys: wrapping folder key %s: %w", key.ID(), err)
	}
	return text, wrapHolds(key.ID().String(), text, active, o.memory)
}

// has reports whether a user key is stored.
func (inv *Inventory) has(id dcrypt.KeyID) bool {
	for _, st := range inv.Keys {
		if st.User && st.Text != nil && st.Has(id) {
			return true
		}
	}
	return false
}

// compare looks at what is stored under the id.
func (im *Import) compare(now *Stored) error {
	switch {
	case now == nil, now.Text == nil, now.Lost, now.Retired:
		return nil
	case bytes.Equal(now.Text, im.Text), im.Verified && now.Check() == nil && now.Public() != nil:
		// The id is a digest of the public half: it is the same key, under another seal.
		im.Already, im.Text = true, now.Text
		return nil
	}
	return fmt.Errorf("%w: under id %s, with another text", ErrConflict, im.ID)
}

// StoreImports stores keys that PrepareImport has made ready, in one transaction, and reads
// them back. Those with an error are left out. A key never takes the place of another text.
func (k *Keys) StoreImports(ctx context.Context, list []Import) error {
	err := k.dict.Update(ctx, func(tx attrdict.Tx) error {
		for _, im := range list {
			if im.Err != nil {
				continue
			}
			if err := im.store(tx, k.inbox); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys: storing keys: %w", err)
	}
	return k.dict.View(context.WithoutCancel(ctx), func(d attrdict.Reader) error {
		for _, im := range list {
			if im.Err != nil || im.Already {
				continue
			}
			if now, err := get(d, im.level().private(im.ID)); err != nil || !bytes.Equal(now, im.Text) {
				return errors.Join(err, fmt.Errorf("%w: key %s does not read back", attrdict.ErrChanged, im.ID))
			}
		}
		return nil
	})
}

func (im *Import) level() level {
	if im.User {
		return userLevel(im.GUID)
	}
	return folderLevel(im.GUID)
}

func (im *Import) store(tx attrdict.Tx, inbox mailbox.GUID) error {
	l := im.level()
	now, err := get(tx, l.private(im.ID))
	if err != nil {
		return err
	}
	if now != nil && !bytes.Equal(now, im.Text) {
		return fmt.Errorf("%w: under id %s, with another text", ErrConflict, im.ID)
	}
	if now == nil {
		// What was set aside under the id has come back by this.
		err = tx.Set(l.private(im.ID), im.Text)
		for _, kind := range []string{"lost", "retired"} {
			aside, gerr := get(tx, l.own(kind, im.ID))
			if err = errors.Join(err, gerr); im.Verified || bytes.Equal(aside, im.Text) {
				err = errors.Join(err, tx.Unset(l.own(kind, im.ID)))
			}
		}
	}
	public, perr := get(tx, l.public(im.ID))
	if err = errors.Join(err, perr); err != nil {
		return err
	}
	if public == nil && im.public != nil {
		if err := tx.Set(l.public(im.ID), im.public); err != nil {
			return err
		}
	}
	if !im.Activate {
		return nil
	}
	active, err := get(tx, l.active())
	if err != nil || string(active) == im.ID {
		return err
	}
	if _, err := dcrypt.ParseKeyID(string(active)); err == nil {
		if err := tx.Set(l.rotated(string(active)), []byte(strconv.FormatInt(time.Now().Unix(), 10))); err != nil {
			return err
		}
	}
	return tx.Set(l.active(), []byte(im.ID))
}
