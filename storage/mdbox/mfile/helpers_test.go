package mfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testTime is when everything is saved.
var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// ids gives IDs of files above last, as a catalog does.
func ids(last uint32) func() uint32 { return func() uint32 { last++; return last } }

func newDir(t testing.TB, o Options) *Dir {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	o.Host = "test"
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func metadata(guid string) Metadata {
	return Metadata{Physical: -1, Received: testTime, Virtual: 100, GUID: guid, Folder: "INBOX"}
}

// message spools a text.
func message(t testing.TB, d *Dir, text, guid string) Message {
	t.Helper()
	s := d.Create()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	return Message{s, metadata(guid)}
}

// save appends texts with GUIDs g1, g2 and so on, and commits them.
func save(t testing.TB, d *Dir, next func() uint32, texts ...string) []Place {
	t.Helper()
	var list []Message
	for i, text := range texts {
		list = append(list, message(t, d, text, fmt.Sprintf("g%d", i+1)))
	}
	a, err := d.Append(t.Context(), next, list)
	if err != nil {
		t.Fatal(err)
	}
	a.Commit()
	return a.Places()
}

// wantText checks what is at a place.
func wantText(t testing.TB, d *Dir, p Place, want string) *Stored {
	t.Helper()
	s, err := d.Open(p)
	if err != nil {
		t.Errorf("%v: %v", p, err)
		return nil
	}
	defer s.Close()
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Errorf("%v: %v", p, err)
	}
	if string(b) != want {
		t.Errorf("%v holds %.80q (%d bytes), want %.80q (%d bytes)", p, b, len(b), want, len(want))
	}
	return s
}

// scanAll returns the bodies of a file, and how the scan ended.
func scanAll(t testing.TB, d *Dir, f File) (texts []string, err error) {
	t.Helper()
	s, err := d.Scan(f)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for {
		m, err := s.Next()
		if err == io.EOF {
			return texts, nil
		}
		if err != nil {
			return texts, err
		}
		b := make([]byte, m.Size)
		if _, err := s.ReadAt(b, m.Body); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
}

// names are the files of a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, "storage"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func appendFile(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// large is a text that does not stay in memory.
func large(n int) string { return string(bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]) }
