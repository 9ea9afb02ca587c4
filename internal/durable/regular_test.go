package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	fifo, file, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(file, []byte("abc"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir} {
		if f, _, err := OpenRegular(path, 0); !errors.Is(err, ErrNotRegular) || f != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	f, fi, err := OpenRegular(link, 0)
	if err != nil || fi.Size() != 3 {
		t.Fatal(err)
	}
	f.Close()
	if _, _, err := OpenRegular(link, unix.O_NOFOLLOW); err == nil {
		t.Error("followed a symbolic link")
	}
	if _, _, err := OpenRegular(filepath.Join(dir, "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new")
	fault := errors.New("fault")
	if err := WriteNew(path, func(w io.Writer) error { io.WriteString(w, "part"); return fault }); !errors.Is(err, fault) {
		t.Errorf("a write that fails: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
	whole := func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }
	if err := WriteNew(path, whole); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(path, func(io.Writer) error { t.Error("writes over a file"); return nil }); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	got, err := os.ReadFile(path)
	fi, serr := os.Stat(path)
	if err != nil || serr != nil || string(got) != "whole" || fi.Mode().Perm() != 0o600 {
		t.Errorf("it holds %q, %v, %v", got, err, serr)
	}
	if err := WriteNew(filepath.Join(path, "x"), whole); err == nil {
		t.Error("a file in a file")
	}
}
