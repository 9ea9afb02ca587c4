package keycheck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mailcrypt/attrdict"
)

// BackupOptions say how to look at a copied tree.
type BackupOptions struct {
	// Dicts are the names of dictionaries, absolute or below a home, of which the first
	// that is there counts. nil stands for DefaultDicts.
	Dicts []string
	// Report, where set, is called with the path of each message that was looked at and how
	// many there were of the home.
	Report func(path string, messages int)
	// Secrets returns what opens the keys of a home; nil opens what lies open. The caller
	// clears them.
	Secrets func(home string) (Secrets, error)
}

// A Home is one user's part of a backup.
type Home struct {
	Path   string
	Dict   string // path of the dictionary, "" if there is none
	Report *Report
	Err    error // why it could not be checked
}

// Bounds of the search for homes: domains, users, and one level more.
const maxHomeDepth = 4

// mailRoots are what directories with mail in a home are usually called.
var mailRoots = []string{"Maildir", "mdbox", "sdbox"}

// DefaultDicts are where dictionaries usually are: in a home, or in its Maildir, mdbox or
// sdbox.
func DefaultDicts() []string {
	list := []string{"keys.db", "dovecot-attributes"}
	for _, root := range mailRoots {
		list = append(list, root+"/keys.db", root+"/dovecot-attributes")
	}
	return list
}

// CheckBackup checks the home at a path, or all homes below it, and calls fn for each. A
// home is a directory with a dictionary, or with a Maildir, an mdbox or an sdbox in it.
// Nothing is written or locked for writing; a bbolt dictionary is opened read-only. fn's error
// ends the search. Where no home is found the error wraps fs.ErrNotExist.
func CheckBackup(ctx context.Context, path string, o BackupOptions, fn func(Home) error) error {
	found := 0
	err := o.homes(ctx, path, 0, func(home string) error {
		found++
		return fn(CheckHome(ctx, home, o))
	})
	if err != nil {
		return err
	}
	if found == 0 {
		return fmt.Errorf("keycheck: no home with a dictionary or mail in %s: %w", path, fs.ErrNotExist)
	}
	return nil
}

func (o BackupOptions) homes(ctx context.Context, dir string, depth int, fn func(string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("keycheck: %w", err)
	}
	if o.isHome(dir, entries) {
		return fn(dir)
	}
	if depth == maxHomeDepth {
		return nil
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := o.homes(ctx, filepath.Join(dir, e.Name()), depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// dict finds the dictionary of a home.
func (o BackupOptions) dict(home string) string {
	names := o.Dicts
	if names == nil {
		names = DefaultDicts()
	}
	for _, path := range names {
		if !filepath.IsAbs(path) {
			path = filepath.Join(home, path)
		}
		if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// isHome reports whether a directory holds a user's mail or keys.
func (o BackupOptions) isHome(dir string, entries []fs.DirEntry) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	return slices.ContainsFunc(mailRoots, has) || has("cur") && has("new") || has("mailboxes") && has(storageDir) || o.dict(dir) != ""
}

// Find looks for the copy of a file or directory below the directory of a backup: the
// longest end of its path that is there, so that a backup of /srv may be of "/" or of "/srv".
// The directory itself is the copy of one whose name it bears. Where there is none the error
// wraps fs.ErrNotExist.
func Find(backup, path string) (string, error) {
	path = filepath.Clean(path)
	for rest := strings.TrimPrefix(path, "/"); rest != ""; _, rest, _ = strings.Cut(rest, "/") {
		copied := filepath.Join(backup, rest)
		if _, err := os.Lstat(copied); err == nil {
			return copied, nil
		}
	}
	if abs, err := filepath.Abs(backup); err == nil && filepath.Base(abs) == filepath.Base(path) {
		return backup, nil
	}
	return "", fmt.Errorf("keycheck: no copy of %s is in %s: %w", path, backup, fs.ErrNotExist)
}

// CheckHome checks one home as CheckBackup does.
func CheckHome(ctx context.Context, home string, o BackupOptions) (h Home) {
	h.Path = home
	h.Dict = o.dict(home)
	dict := attrdict.ReadOnly(nil)
	if h.Dict != "" {
		if dict, h.Err = attrdict.OpenReadOnly(h.Dict); h.Err != nil {
			return h
		}
	}
	defer func() { h.Err = errors.Join(h.Err, dict.Close()) }()
	var s Secrets
	if o.Secrets != nil {
		if s, h.Err = o.Secrets(home); h.Err != nil {
			return h
		}
	}
	needs, err := FromTree(ctx, home, o.Report)
	if err != nil {
		h.Err = err
		return h
	}
	h.Report, h.Err = Check(ctx, needs, dict, s)
	return h
}
