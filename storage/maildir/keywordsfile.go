package maildir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"mailcrypt/internal/durable"
)

// readKeywords reads dovecot-keywords if it has changed.
func (b *box) readKeywords() error {
	path := filepath.Join(b.f().control, keywordsName)
	id, err := statID(path)
	if errors.Is(err, os.ErrNotExist) {
		if b.keysRead && b.keysID != (fileID{}) {
			b.setKeywords(keywords{}, fileID{})
		}
		b.keysRead = true
		return nil
	}
	if err != nil {
		return b.wrap("reading keywords of", err)
	}
	if b.keysRead && id == b.keysID {
		return nil
	}
	f, st, err := openRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		return b.readKeywords()
	}
	if err != nil {
		return b.wrap("reading keywords of", err)
	}
	defer f.Close()
	k, err := parseKeywords(f)
	if err != nil {
		return b.wrap("reading keywords of", err)
	}
	b.setKeywords(k, idOf(st))
	b.keysRead = true
	return nil
}

// setKeywords takes up new names; messages that carry a letter may have changed.
func (b *box) setKeywords(k keywords, id fileID) {
	b.keysID = id
	if k == b.keys {
		return
	}
	b.keys = k
	clear(b.flags)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.byUID {
		if _, letters, _ := splitFlags(e.suffix); hasKeyword(letters) {
			b.touch(e)
		}
	}
}

func hasKeyword(letters string) bool {
	for i := range len(letters) {
		if isKeyword(letters[i]) {
			return true
		}
	}
	return false
}

// writeKeywords gives letters to keywords. The uidlist's lock is held, so a lock file that
// stands here was left behind.
func (b *box) writeKeywords(ctx context.Context, names []string) (letters string, err error) {
	if err := b.readKeywords(); err != nil {
		return "", err
	}
	k := b.keys
	letters, changed, err := k.add(names, b.letterUsed)
	if err != nil || !changed {
		return letters, err
	}
	path := filepath.Join(b.f().control, keywordsName)
	if err := b.h.faults.Remove(path + ".lock"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", b.wrap("writing keywords of", err)
	}
	l, err := durable.Lock(ctx, path, durable.DotlockOptions{Wait: 2 * time.Second, Stale: 120 * time.Second,
		Perm: b.mode, Host: b.h.host, AdvanceMtime: true, Faults: b.h.faults})
	if err != nil {
		return "", b.wrap("writing keywords of", err)
	}
	if err := l.ReplaceWith(k.write); err != nil {
		return "", b.wrap("writing keywords of", err)
	}
	id, err := statID(path)
	if err != nil {
		return "", b.wrap("writing keywords of", err)
	}
	b.setKeywords(k, id)
	return letters, nil
}

// letterUsed reports whether a file name has a keyword letter. New keywords are rare.
func (b *box) letterUsed(letter byte) bool {
	for _, e := range b.entries {
		if !e.present || e.suffix == "" {
			continue
		}
		_, letters, _ := splitFlags(e.suffix)
		for i := range len(letters) {
			if letters[i] == letter {
				return true
			}
		}
	}
	return false
}
