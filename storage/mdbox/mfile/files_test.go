package mfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopy moves messages as a purge and an altmove do.
func TestCopy(t *testing.T) {
	d := newDir(t, Options{Alt: t.TempDir(), RotateSize: 3000})
	next := ids(0)
	texts := []string{"one", large(2 * spoolMemory), strings.Repeat("x", 2000), "four"}
	places := save(t, d, next, texts...)
	// Lines that nobody knows, and attachments elsewhere, stay with the message.
	old := filepath.Join(d.o.Root, "storage", "m.90")
	body := "1 M20 C1\n\x01\x02N          0000000000000003  \nabc\n\x01\x03\nQ?\nGg9\nX0 1 - a/b\nR1\n \n"
	body = strings.Replace(body, "0003  \n", "0003 \x00\n", 1)
	if err := os.WriteFile(old, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	places = append(places, Place{90, 9, uint32(len(body)) - 9})
	lock, err := d.Lock(places[0].File)
	if err != nil {
		t.Fatal(err)
	}
	for _, alt := range []bool{true, false} {
		a, err := d.Copy(t.Context(), next, places, alt)
		if err != nil {
			t.Fatal(err)
		}
		a.Commit()
		copies := a.Places()
		for i, text := range texts {
			s := wantText(t, d, copies[i], text)
			if was := wantText(t, d, places[i], text); s == nil || fmt.Sprint(s.Metadata) != fmt.Sprint(was.Metadata) {
				t.Errorf("metadata of %d changed", i)
			}
		}
		if _, err := d.Open(copies[4]); !errors.Is(err, ErrAttachments) {
			t.Error(err)
		}
		s, err := d.openAny(copies[4])
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if !slices.Equal(s.Other, []string{"Q?"}) || s.GUID != "g9" || s.External != "0 1 - a/b" || s.Size() != 3 || s.Body-s.Offset != headerSize {
			t.Errorf("%+v", s.Record)
		}
		for _, f := range a.Files() {
			if f.Alt != alt || f.ID == places[0].File {
				t.Errorf("copied into %+v", f)
			}
			if _, err := os.Stat(d.path(f.ID, alt)); err != nil {
				t.Error(err)
			}
		}
	}
	lock.Unlock()

	before, _ := d.List()
	for _, p := range []Place{{999, 16, 10}, {1, 17, places[0].Size}, {1, 16, 5}, {1, 16, 1 << 31}, {1, 1 << 31, 10}, {1, 16, places[0].Size - 1}} {
		_, err := d.Copy(t.Context(), next, []Place{places[3], p}, false)
		var corrupt *CorruptError
		if !errors.Is(err, ErrGone) && !(errors.As(err, &corrupt) && corrupt.File == p.File) {
			t.Errorf("%v of %d bytes: %v", p, p.Size, err)
		}
	}
	if after, _ := d.List(); !slices.Equal(before, after) {
		t.Errorf("files are %v, were %v", after, before)
	}
	if _, err := newDir(t, Options{}).Copy(t.Context(), next, places, true); err == nil {
		t.Error("copied into no directory")
	}
}

// An alternative root that is not there is not made: it may not be mounted.
func TestNoAlternative(t *testing.T) {
	alt := filepath.Join(t.TempDir(), "unmounted")
	d := newDir(t, Options{Alt: alt})
	places := save(t, d, ids(0), "x")
	if _, err := d.Copy(t.Context(), ids(1), places, true); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "mount its file system") {
		t.Error(err)
	}
	if _, err := d.Open(Place{9, 16, 10}); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := os.Stat(alt); !errors.Is(err, os.ErrNotExist) {
		t.Error("the root was made")
	}
}

// TestListAndRemove: only message files count, in either directory.
func TestListAndRemove(t *testing.T) {
	d := newDir(t, Options{Alt: t.TempDir(), RotateSize: 100})
	if list, err := d.List(); len(list) != 0 || err != nil {
		t.Error(list, err)
	}
	next := ids(0)
	places := save(t, d, next, "one", "two", "three")
	a, err := d.Copy(t.Context(), next, places[:1], true)
	if err != nil {
		t.Fatal(err)
	}
	a.Commit()
	both := d.path(2, true)
	for _, path := range []string{both, d.path(1, false) + ".broken", filepath.Join(d.dirs[0], "m.0"), filepath.Join(d.dirs[0], "m.007"),
		filepath.Join(d.dirs[0], "m.4294967296"), filepath.Join(d.dirs[0], "dovecot.map.index")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(d.path(77, false), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d.path(1, false), d.path(78, false)); err != nil {
		t.Fatal(err)
	}
	list, err := d.List()
	end := func(p Place) int64 { return p.End() }
	want := []File{{1, false, end(places[0])}, {2, false, end(places[1])}, {2, true, 0}, {3, false, end(places[2])}, {4, true, end(a.Places()[0])}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%v, %v; want %v", list, err, want)
	}
	for _, id := range []uint32{77, 78} {
		if _, err := d.Open(Place{id, 16, 10}); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("m.%d was opened: %v", id, err)
		}
	}
	wantText(t, d, places[1], "two") // the primary one is what counts
	if id, err := d.Renumber(t.Context(), File{ID: 2, Alt: true}, next); id != 5 || err != nil {
		t.Error(id, err)
	}
	stored, err := d.Open(places[0])
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	if err := d.Remove(File{ID: 1}, File{ID: 4, Alt: true}, File{ID: 5, Alt: true}, File{ID: 6}); err != nil {
		t.Error(err)
	}
	if list, _ := d.List(); !slices.Equal(list, []File{want[1], want[3]}) {
		t.Error(list)
	}
	b := make([]byte, 3)
	if _, err := stored.ReadAt(b, 0); err != nil || string(b) != "one" {
		t.Errorf("after the removal %q, %v", b, err)
	}
	if _, err := d.Open(places[0]); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := d.Lock(1); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := d.Scan(File{ID: 1}); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

// TestSkip finds the messages behind damage.
func TestSkip(t *testing.T) {
	d := newDir(t, Options{})
	places := save(t, d, ids(0), "one", strings.Repeat("\x01\x02N ", 10_000), "three", "four")
	whole := readFile(t, d.path(1, false))
	spoil := func(p Place, at int, with string) {
		b := slices.Clone(whole)
		copy(b[int(p.Offset)+at:], with)
		if err := os.WriteFile(d.path(1, false), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, fn := range map[string]func(){
		"magic":   func() { spoil(places[1], 0, "xx") },
		"size":    func() { spoil(places[1], 13, "00FFFF") },
		"no size": func() { spoil(places[1], 13, "zz") },
		"trailer": func() { spoil(places[1], int(places[1].Size)-70, strings.Repeat("x", 60)) },
	} {
		fn()
		s, err := d.Scan(File{ID: 1})
		if err != nil {
			t.Fatal(name, err)
		}
		var found []int64
		var skipped int64
		for {
			m, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) || corrupt.File != 1 {
					t.Errorf("%s: %v", name, err)
				}
				n, err := s.Skip()
				skipped += n
				if err != nil {
					t.Errorf("%s: %v", name, err)
					break
				}
				continue
			}
			found = append(found, m.Offset)
		}
		s.Close()
		if want := []int64{int64(places[0].Offset), int64(places[2].Offset), int64(places[3].Offset)}; !slices.Equal(found, want) || skipped != int64(places[1].Size) {
			t.Errorf("%s: found %v, skipped %d; want %v, %d", name, found, skipped, want, places[1].Size)
		}
	}
	spoil(places[3], int(places[3].Size)-1, "x")
	s, err := d.Scan(File{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for err == nil {
		_, err = s.Next()
	}
	if n, err := s.Skip(); n != int64(places[3].Size) || err != io.EOF {
		t.Error(n, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
	if _, err := s.Skip(); err != io.EOF {
		t.Error(err)
	}
}
