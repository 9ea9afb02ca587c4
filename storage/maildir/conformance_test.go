package maildir

import (
	"path/filepath"
	"testing"

	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for name, l := range map[string]Location{
		"maildir++":          {Layout: PlusPlus},
		"maildir++ UTF-8 ct": {Layout: PlusPlus, UTF8: true, Control: "ct", Index: "ix"},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storagetest.Factory {
				dir, l := t.TempDir(), l
				l.Root = filepath.Join(dir, "Maildir")
				for _, p := range []*string{&l.Control, &l.Index} {
					if *p != "" && *p != "MEMORY" {
						*p = filepath.Join(dir, *p)
					}
				}
				return storagetest.Factory{Root: dir, Open: func() (storage.Hierarchy, error) {
					return Open(l, Options{Separator: '/'})
				}}
			})
		})
	}
}
