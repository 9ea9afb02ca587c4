package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// identities keep the GUIDs of an mdbox store's mailboxes in the dictionary, where their keys
// are:
//
//	priv/<zeros>/vendor/vendor.dovecot/pvt/mailcrypt/mdbox/<store>/<guid> = UIDVALIDITY SP storage-name
//
// The store is the first 16 digits of the SHA-256 of its root, for users may share a
// dictionary. No mailbox has the GUID of zeros, so no key is found there, and no client sees
// what is below pvt/.
type identities struct {
	dict   attrdict.Dict
	prefix string
}

func newIdentities(dict attrdict.Dict, root string) *identities {
	sum := sha256.Sum256([]byte(root))
	return &identities{dict, "priv/" + mailbox.GUID{}.String() + "/vendor/vendor.dovecot/pvt/mailcrypt/mdbox/" + hex.EncodeToString(sum[:8]) + "/"}
}

// Load implements mdbox.Identities.
func (i *identities) Load(ctx context.Context) (known map[string]mdbox.Identity, err error) {
	err = i.dict.View(ctx, func(r attrdict.Reader) error {
		known = map[string]mdbox.Identity{}
		return i.each(r, func(_, name string, id mdbox.Identity) error {
			known[name] = id
			return nil
		})
	})
	return known, err
}

// each calls fn for every entry. One that nobody can have written is passed over: what the
// catalog says will take its place.
func (i *identities) each(r attrdict.Reader, fn func(key, name string, id mdbox.Identity) error) error {
	return r.Iterate(i.prefix, func(key string, value []byte) error {
		guid, err := mailbox.ParseGUID(strings.TrimPrefix(key, i.prefix))
		digits, name, ok := strings.Cut(string(value), " ")
		validity, verr := strconv.ParseUint(digits, 10, 32)
		if err != nil || verr != nil || !ok || name == "" || guid.IsZero() {
			return nil
		}
		return fn(key, name, mdbox.Identity{GUID: guid, UIDValidity: uint32(validity)})
	})
}

// Change implements mdbox.Identities.
func (i *identities) Change(ctx context.Context, set map[string]mdbox.Identity, remove []string) error {
	return i.dict.Update(ctx, func(tx attrdict.Tx) error {
		kept := map[string]bool{}
		for name, id := range set {
			key := i.prefix + mailbox.GUID(id.GUID).String()
			kept[key] = true
			if err := tx.Set(key, fmt.Appendf(nil, "%d %s", id.UIDValidity, name)); err != nil {
				return err
			}
		}
		return i.each(tx, func(key, name string, _ mdbox.Identity) error {
			_, replaced := set[name] // by a mailbox of another GUID
			if kept[key] || !replaced && !slices.Contains(remove, name) {
				return nil
			}
			return tx.Unset(key)
		})
	})
}
