// Package teststore opens the stores of testdata/vectors, which real Dovecot wrote, for
// tests. Each is a tar, for that keeps file times and empty directories.
package teststore

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Walk calls fn for every entry of a store's archive. A failure ends the test.
func Walk(t testing.TB, archive string, fn func(h *tar.Header, r io.Reader) error) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = fn(h, r)
		}
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
	}
}

// Files returns the regular files of a store's archive, by their names in it.
func Files(t testing.TB, archive string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	Walk(t, archive, func(h *tar.Header, r io.Reader) (err error) {
		switch h.Typeflag {
		case tar.TypeReg:
			files[filepath.Clean(h.Name)], err = io.ReadAll(r)
		case tar.TypeLink:
			files[filepath.Clean(h.Name)] = files[filepath.Clean(h.Linkname)]
		}
		return err
	})
	if len(files) == 0 {
		t.Fatalf("%s is empty", archive)
	}
	return files
}

// Unpack lays a store's archive out below a directory, with the times of its files and
// directories.
func Unpack(t testing.TB, archive, dir string) {
	t.Helper()
	times := map[string]time.Time{}
	Walk(t, archive, func(h *tar.Header, r io.Reader) error {
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		times[path] = h.ModTime
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeDir:
			return os.MkdirAll(path, 0o700)
		case tar.TypeLink:
			return os.Link(filepath.Join(dir, filepath.Clean("/"+h.Linkname)), path)
		default:
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode).Perm()|0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, out.Close())
	})
	for path, when := range times {
		if err := os.Chtimes(path, when, when); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
