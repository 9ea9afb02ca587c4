package admin

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
)

// Export implements Service.
func (l *Local) Export(ctx context.Context, r ExportRequest) (ExportResult, error) {
	var result ExportResult
	switch {
	case r.Format != "" && r.Format != "text" && r.Format != "pem":
		return result, fmt.Errorf("%w: the format of a key is text or pem", ErrUsage)
	case r.Format != "" && !r.Clear:
		return result, fmt.Errorf("%w: a sealed key comes as it is stored; a format is of keys in the clear", ErrUsage)
	}
	err := l.on(ctx, r.User, false, func(j *job) error {
		secrets, done, err := l.secrets(j, r.Secrets)
		if err != nil {
			return err
		}
		defer done()
		inv, err := j.Keys.Inventory(ctx)
		if err != nil {
			return err
		}
		if err := unknown(r.IDs, inv); err != nil {
			return err
		}
		var o *keys.Opened
		if r.Clear {
			if o, err = j.Keys.Open(ctx, inv, secrets); err != nil {
				return err
			}
			defer o.Close()
		}
		failed := 0
		for _, st := range inv.Keys {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !j.selected(r.Selection, st) || st.Text == nil && st.Public() == nil {
				continue
			}
			k := j.exported(st, o, r.Format)
			if k.Error != "" {
				failed++
			}
			result.Keys = append(result.Keys, k)
		}
		switch {
		case len(result.Keys) == 0:
			return fmt.Errorf("%w: nothing was matched", ErrNoKey)
		case failed == len(result.Keys) && len(r.Secrets) == 0 && r.Clear:
			return fmt.Errorf("%w: none of the keys opens without one", ErrNeedPassword)
		case failed == len(result.Keys) && r.Clear:
			return fmt.Errorf("%w: it opens none of the keys", ErrPassword)
		case failed > 0:
			return fmt.Errorf("%w: %d of %d keys could not be exported", ErrPartly, failed, len(result.Keys))
		}
		return nil
	})
	return result, err
}

// exported gives out one key; o is nil where it comes sealed.
func (j *job) exported(st *keys.Stored, o *keys.Opened, format string) ExportedKey {
	k := ExportedKey{KeyRef: j.ref(st), Active: st.Active, Seal: sealRef(st.Text), Public: string(st.PublicText)}
	if st.Public() == nil {
		k.Public = ""
	}
	if st.Text == nil {
		k.Error = "the private half is missing"
		return k
	}
	if o == nil {
		k.Private, k.Clear = st.Text, k.Seal.By == "none"
		if err := st.Check(); err != nil {
			k.Error = err.Error() // and it comes all the same
		}
		return k
	}
	open := o.FolderKey
	if st.User {
		open = o.UserKey
	}
	key, err := open(st)
	if err != nil {
		k.Error = err.Error()
		return k
	}
	if !st.User {
		defer key.Destroy()
	}
	k.Clear, k.Public = true, key.Public().Text()
	if k.Private = key.Text(); format == "pem" {
		k.Private = key.PEM()
	}
	return k
}

// Import implements Service, in one transaction.
func (l *Local) Import(ctx context.Context, r ImportRequest) (ImportResult, error) {
	var result ImportResult
	switch {
	case len(r.Keys) == 0:
		return result, fmt.Errorf("%w: no key is given", ErrUsage)
	case r.Open && r.Password != nil:
		return result, fmt.Errorf("%w: keys are to be sealed, or to be left in the clear", ErrUsage)
	}
	err := l.on(ctx, r.User, !r.DryRun, func(j *job) error {
		secrets, done, err := l.secrets(j, r.Secrets)
		if err != nil {
			return err
		}
		defer done()
		to := keys.Seal{Open: r.Open}
		if r.Password != nil {
			if len(r.Password.Secret) == 0 {
				return fmt.Errorf("%w: the password is empty", ErrUsage)
			}
			if err := l.checkLogin(ctx, j.user, *r.Password); err != nil {
				return err
			}
			if to.Password, err = l.seal(j.user, *r.Password); err != nil {
				return err
			}
			defer to.Password.Clear()
		}
		list, err := j.prepareImports(ctx, r, secrets, to)
		if err != nil {
			return err
		}
		if !r.DryRun {
			if err := j.Keys.StoreImports(ctx, list); err != nil {
				return conflict(err)
			}
		}
		return j.imported(&result, list, r.DryRun)
	})
	return result, err
}

func conflict(err error) error {
	if errors.Is(err, keys.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// prepareImports looks at all keys, user keys first: folder keys may hang on them. The rows
// are in the order of the request.
func (j *job) prepareImports(ctx context.Context, r ImportRequest, secrets []keys.Secret, to keys.Seal) ([]keys.Import, error) {
	inv, err := j.Keys.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	o, err := j.Keys.Open(ctx, inv, secrets)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	list := make([]keys.Import, len(r.Keys))
	for _, user := range []bool{true, false} {
		for i, k := range r.Keys {
			if k.User != user {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			src := keys.ImportSource{User: k.User, ID: k.ID, Private: k.Private, Activate: r.Activate && k.Active}
			if k.Public != "" {
				src.Public = []byte(k.Public)
			}
			if !k.User {
				if src.GUID, err = j.guid(k.KeyRef); err != nil {
					list[i] = keys.Import{ID: k.ID, Err: err}
					continue
				}
			}
			list[i] = j.Keys.PrepareImport(inv, o, src, secrets, to, r.Unverified)
		}
	}
	return list, nil
}

// guid finds the mailbox that a folder key belongs to: by name, where the same name is there,
// for after a restore GUIDs may be others; else by GUID.
func (j *job) guid(ref KeyRef) (mailbox.GUID, error) {
	for _, f := range j.folders {
		if ref.Folder != "" && f.Name == ref.Folder {
			return f.GUID, nil
		}
	}
	if ref.GUID != "" {
		guid, err := mailbox.ParseGUID(ref.GUID)
		if err != nil {
			return guid, fmt.Errorf("%w: %q is no GUID", ErrUsage, ref.GUID)
		}
		return guid, nil
	}
	if ref.Folder != "" {
		return mailbox.GUID{}, fmt.Errorf("%w: there is no folder %s", ErrUsage, ref.Folder)
	}
	return mailbox.GUID{}, fmt.Errorf("%w: a folder key needs a folder or a GUID", ErrUsage)
}

// imported fills the result.
func (j *job) imported(result *ImportResult, list []keys.Import, dry bool) error {
	failed, conflicts := 0, 0
	var first error
	for _, im := range list {
		row := ImportedKey{KeyRef: KeyRef{ID: im.ID, User: im.User, GUID: im.GUID.String(), Folder: j.names[im.GUID]},
			Done: Imported, Verified: im.Verified, Activated: im.Activate && im.Err == nil, Seal: sealRef(im.Text)}
		switch {
		case im.Err != nil:
			row.Done, row.Error, row.Seal = Left, im.Err.Error(), nil
			failed++
			if first == nil {
				first = im.Err
			}
			if errors.Is(im.Err, keys.ErrConflict) {
				conflicts++
			}
		case im.Already:
			row.Done = Already
		case dry:
			row.Done = WouldBe
		}
		result.Keys = append(result.Keys, row)
	}
	switch {
	case failed == 0:
		return nil
	case failed < len(list):
		return fmt.Errorf("%w: %d of %d keys were left out: %w", ErrPartly, failed, len(list), first)
	case conflicts > 0:
		return fmt.Errorf("%w: %w", ErrConflict, first)
	case errors.Is(first, keys.ErrBadKey):
		return fmt.Errorf("%w: %w", ErrUsage, first)
	case errors.Is(first, dcrypt.ErrNoKey):
		return fmt.Errorf("%w: %w", ErrNeedPassword, first)
	}
	return first
}
