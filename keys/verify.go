package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// A folderKey is a folder's active key as the dictionary has it.
type folderKey struct {
	level   level
	active  []byte // its id; nil where the folder has no key yet
	public  []byte
	private []byte
}

// readFolderKey reads a folder's active key; what is missing is nil.
func readFolderKey(d attrdict.Reader, folder mailbox.GUID) (f folderKey, err error) {
	f.level = folderLevel(folder)
	v, err := get(d, f.level.active())
	if err != nil || v == nil {
		return f, err
	}
	f.active = append([]byte{}, v...)
	id, err := dcrypt.ParseKeyID(string(f.active))
	if err != nil {
		return f, nil // it names nothing, and may be too long to be a name
	}
	if v, err = get(d, f.level.public(id.String())); err != nil {
		return f, err
	}
	f.public = bytes.Clone(v)
	if v, err = get(d, f.level.private(id.String())); err != nil {
		return f, err
	}
	f.private = bytes.Clone(v)
	return f, nil
}

// key reads the public half; the error wraps ErrBadKey, and both are nil where it is missing.
func (f folderKey) key(parse func([]byte) (*dcrypt.PublicKey, error)) (*dcrypt.PublicKey, error) {
	id, err := dcrypt.ParseKeyID(string(f.active))
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not hold a key id", ErrBadKey, f.level.active())
	}
	return parseActive(f.level, id, f.public, parse)
}

// VerifyFolder makes sure, with the keys of a login, that mail of a folder is encrypted
// to a key of the user's: the private half of the active key must be stored, open, have
// its id, and be wrapped by a user key that the login trusts. A public record that is
// damaged is written anew from the private half, and a private one that is gone from the
// key in the ring; where there is no such key, a new folder key takes the place of the
// active one, whose id is noted. A ring that can tell nothing changes nothing, and so does
// an error that says nothing of the key, such as one of I/O. Records that the configured
// Memory knows are not opened again.
func (k *Keys) VerifyFolder(ctx context.Context, r *Ring, folder mailbox.GUID) error {
	_, err := k.verifyFolder(ctx, r, folder)
	return err
}

// verifyFolder is VerifyFolder; it returns the key that it found to be the user's, nil where
// it had to be mended, there is none, or nothing can be told.
func (k *Keys) verifyFolder(ctx context.Context, r *Ring, folder mailbox.GUID) (*folderKey, error) {
	c := k.Config()
	if c.Global != nil || !r.canTell() {
		return nil, nil
	}
	var f folderKey
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		f, err = readFolderKey(d, folder)
		return err
	})
	if err != nil || f.active == nil { // else nobody encrypts to it yet
		return nil, err
	}
	if r.knows(f) {
		return &f, nil
	}
	pub, err := f.key(k.Publics.look)
	if pub == nil || err != nil {
		mended, err := k.restorePublic(ctx, r, f.level, f.active)
		if mended || err != nil {
			return nil, err
		}
		return nil, k.replaceFolderKey(ctx, r, c, folder, f.active)
	}
	if r.openedBefore(f, pub) {
		r.learn(f)
		return &f, nil
	}
	owns, err := r.ownsFolder(pub)
	switch {
	case err != nil:
		return nil, err
	case !owns:
		return nil, k.replaceFolderKey(ctx, r, c, folder, f.active)
	case f.private == nil:
		return nil, k.restoreFolder(ctx, r, f.level, pub)
	}
	if r.openedBefore(f, pub) { // else from other bytes than those that are stored now
		r.learn(f)
	}
	return &f, nil
}

// seemsOwned reports whether a folder's key, unopened, is as a key of the user's should be: its
// records are there and name each other, and a trusted user key wraps it. True is no proof.
func (k *Keys) seemsOwned(r *Ring, f folderKey) bool {
	pub, err := f.key(k.Publics.look)
	if pub == nil || err != nil {
		return false
	}
	info, err := dcrypt.Inspect(f.private)
	if err != nil || !info.Private || info.ID != string(f.active) {
		return false
	}
	_, ok := r.trustedWrapper(f.private)
	return ok
}

// lookAtInbox verifies INBOX's folder key where that is needed at once: where a look tells that
// something is wrong. Otherwise it is opened when it is used, or by VerifyFolder.
func (k *Keys) lookAtInbox(ctx context.Context, r *Ring) error {
	var f folderKey
	err := k.dict.View(ctx, func(d attrdict.Reader) (err error) {
		f, err = readFolderKey(d, k.inbox)
		return err
	})
	if err != nil || f.active == nil || r.knows(f) || k.seemsOwned(r, f) {
		return err
	}
	return k.VerifyFolder(ctx, r, k.inbox)
}

// Unverified lists the folders whose keys the login has yet to verify: those with an active key
// that the Memory does not know to be the user's as it is stored now. It opens nothing. A ring that
// can tell nothing has none.
func (k *Keys) Unverified(ctx context.Context, r *Ring) (folders []mailbox.GUID, err error) {
	if k.Config().Global != nil || !r.canTell() {
		return nil, nil
	}
	err = k.dict.View(ctx, func(d attrdict.Reader) error {
		var active []mailbox.GUID
		err := d.Iterate("shared/", func(s string, _ []byte) error {
			if n, ok := parseName(s); ok && !n.user && n.kind == "active" {
				if len(active) == maxRecords {
					return errStop
				}
				active = append(active, n.guid)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return fmt.Errorf("keys: listing folder keys: %w", err)
		}
		for _, guid := range active {
			f, err := readFolderKey(d, guid)
			if err != nil {
				return err
			}
			if f.active != nil && !r.knows(f) {
				folders = append(folders, guid)
			}
		}
		return nil
	})
	return folders, err
}

// trustedWrapper returns the id of the user key that wraps a text and vouches for it.
func (r *Ring) trustedWrapper(private []byte) (id dcrypt.KeyID, ok bool) {
	by, ok := wrapperOf(private)
	if !ok {
		return id, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.vouches(by) {
		return id, false
	}
	return r.user[by].ID(), true
}

// knows reports whether these very records were found to be the user's before, opened by a
// user key that this ring trusts.
func (r *Ring) knows(f folderKey) bool {
	if f.public == nil || f.private == nil {
		return false
	}
	user, ok := r.trustedWrapper(f.private)
	return ok && r.keys.Config().Memory.has(ownedBy(string(f.active), f.public, f.private, user))
}

// openedBefore reports whether the private text that is stored was opened before by a user key
// that this ring trusts, and is the private half of a public key.
func (r *Ring) openedBefore(f folderKey, pub *dcrypt.PublicKey) bool {
	user, ok := r.trustedWrapper(f.private)
	return ok && pub.ID().String() == string(f.active) &&
		r.keys.Config().Memory.has(openedBy(string(f.active), f.private, user))
}

// learn remembers that a folder's key, of which openedBefore is true, is the user's.
func (r *Ring) learn(f folderKey) {
	if user, ok := r.trustedWrapper(f.private); ok {
		r.keys.Config().Memory.add(ownedBy(string(f.active), f.public, f.private, user))
	}
}
