package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra/doc"
)

// TestManPages fails where docs/man is not what the commands say of themselves. UPDATE=1
// writes it.
func TestManPages(t *testing.T) {
	const pages = "../../docs/man"
	root := newRoot()
	root.DisableAutoGenTag = true
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) // pages change with commands, not with days
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "mailcrypt", Manual: "mailcryptd"}
	fresh := t.TempDir()
	if err := doc.GenManTree(root, header, fresh); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.RemoveAll(pages); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(pages, os.DirFS(fresh)); err != nil {
			t.Fatal(err)
		}
	}
	is, want := read(t, pages), read(t, fresh)
	for name, page := range want {
		if !bytes.Equal(is[name], page) {
			t.Errorf("docs/man/%s is stale: UPDATE=1 go test ./cmd/doveadm-crypt -run TestManPages", name)
		}
		delete(is, name)
	}
	for name := range is {
		t.Errorf("docs/man/%s is of no command", name)
	}
}

// read reads the files of a directory.
func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	return files
}
