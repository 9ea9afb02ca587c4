package keys

import (
	"context"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// CarryKey stores the sealed private record of a folder key for another folder as well,
// under its GUID, so that a message encrypted to it can be read there. The record is not
// opened. A key that is not stored, a global one say, needs no carrying.
func (k *Keys) CarryKey(ctx context.Context, id dcrypt.KeyID, to mailbox.GUID) error {
	l := folderLevel(to)
	find := func(r attrdict.Reader) (name string, text []byte, err error) {
		here, err := get(r, l.private(id.String()))
		if err != nil || here != nil {
			return "", nil, err
		}
		names, _, err := privateNames(r, false, maxRecords)
		for _, n := range names {
			// A damaged record beside a good one must not be the one that is carried.
			info, ierr := dcrypt.Inspect(n.text)
			if n.record.id == id.String() && ierr == nil && info.Private && info.ID == n.record.id {
				return l.private(n.record.id), n.text, nil
			}
		}
		return "", nil, err
	}
	var missing bool
	err := k.dict.View(ctx, func(r attrdict.Reader) error {
		name, _, err := find(r)
		missing = name != ""
		return err
	})
	if err != nil || !missing {
		return err
	}
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		name, text, err := find(tx)
		if err != nil || name == "" {
			return err
		}
		return tx.Set(name, text)
	})
}

// ForgetFolder removes the attributes of a folder that was deleted, except its keys: a
// message that another program has moved elsewhere would be lost with them.
func (k *Keys) ForgetFolder(ctx context.Context, folder mailbox.GUID) error {
	if folder == k.inbox {
		return nil
	}
	return k.dict.Update(ctx, func(tx attrdict.Tx) error {
		var names []string
		for _, scope := range []string{"priv/", "shared/"} {
			prefix := scope + folder.String() + "/"
			err := tx.Iterate(prefix, func(name string, _ []byte) error {
				if !strings.HasPrefix(name[len(prefix):], cryptPrefix) || strings.HasSuffix(name, "/active") {
					names = append(names, name)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := tx.Unset(name); err != nil {
				return err
			}
		}
		return nil
	})
}
