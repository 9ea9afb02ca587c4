package mdbox

import (
	"path/filepath"
	"testing"

	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for name, l := range map[string]Location{
		"plain":           {},
		"UTF-8 alt ix ct": {UTF8: true, Control: "ct", Index: "ix", Alt: "alt"},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storagetest.Factory {
				dir, l := t.TempDir(), l
				l.Root = filepath.Join(dir, "mdbox")
				for _, p := range []*string{&l.Control, &l.Index, &l.Alt} {
					if *p != "" {
						*p = filepath.Join(dir, *p)
					}
				}
				return storagetest.Factory{Root: dir, Open: func() (storage.Hierarchy, error) {
					return Open(t.Context(), l, Options{})
				}}
			})
		})
	}
}
