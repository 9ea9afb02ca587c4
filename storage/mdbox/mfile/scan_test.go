package mfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcrypt/internal/teststore"
)

// TestVectors finds every message of Dovecot's stores where their description says.
func TestVectors(t *testing.T) {
	cases, _ := filepath.Glob("../../../testdata/vectors/mdbox-*/case.json")
	if len(cases) < 3 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, path := range cases {
		var c struct {
			Users []struct {
				Mailboxes []struct {
					Messages []struct {
						File     string `json:"file"`
						Offset   int64  `json:"offset"`
						Length   int64  `json:"length"`
						GUID     string `json:"guid"`
						Size     int64  `json:"size"`
						Received int64  `json:"received_unix"`
					} `json:"messages"`
				} `json:"mailboxes"`
			} `json:"users"`
		}
		js, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(js, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		type place struct {
			file   string
			offset int64
		}
		found := map[place]Record{}
		for name, b := range teststore.Files(t, filepath.Join(filepath.Dir(path), "store.tar.gz")) {
			if !regexp.MustCompile(`/m\.\d+$`).MatchString(name) {
				continue
			}
			s, err := NewScanner(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(name, err)
			}
			for {
				m, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(name, err)
				}
				found[place{name, m.Body}] = m
			}
		}
		count := 0
		for _, u := range c.Users {
			for _, b := range u.Mailboxes {
				for _, want := range b.Messages {
					m, ok := found[place{want.File, want.Offset}]
					if count++; !ok || m.Size != want.Length || m.GUID != want.GUID || m.Virtual != want.Size || m.Received.Unix() != want.Received {
						t.Errorf("%s: %+v; want %+v", path, m, want)
					}
				}
			}
		}
		if count == 0 {
			t.Errorf("%s has no messages", path)
		}
	}
}

const sample = "2 M1e C6b0219b9\n\x01\x02N          0000000000000003\nabc\n\x01\x03\nGx\nV5\nR1\nBINBOX\nQ?\n\n"

func TestScanner(t *testing.T) {
	s, err := NewScanner(strings.NewReader(sample), int64(len(sample)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Next()
	if err != nil || m.GUID != "x" || m.Virtual != 5 || m.Physical != -1 || m.Folder != "INBOX" || len(m.Other) != 1 || m.Received.Unix() != 1 || sample[m.Body:m.Body+m.Size] != "abc" || m.End != int64(len(sample)) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
	for n := range len(sample) { // every cut is told
		s, err := NewScanner(strings.NewReader(sample[:n]), int64(n))
		if err == nil {
			_, err = s.Next()
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) && !(err == io.EOF && n == 16) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// vectorFiles are message files that Dovecot wrote.
func vectorFiles(f *testing.F) (list [][]byte) {
	archives, _ := filepath.Glob("../../../testdata/vectors/mdbox-*/store.tar.gz")
	for _, path := range archives {
		for name, b := range teststore.Files(f, path) {
			if regexp.MustCompile(`/m\.\d+$`).MatchString(name) {
				list = append(list, b[:min(len(b), 4000)])
			}
		}
	}
	if len(list) == 0 {
		f.Fatal("no vectors")
	}
	return list
}

// FuzzScanner: whatever the file says, records lie behind each other in the file, and Skip
// comes to an end.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(sample + "\x01\x02N " + sample[16:]))
	f.Add([]byte("2 M1e\n\x01\x02N \x01\x02N "))
	for _, b := range vectorFiles(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := NewScanner(bytes.NewReader(b), int64(len(b)))
		for last := int64(0); err == nil; {
			var m Record
			m, err = s.Next()
			if err == nil {
				if m.Offset < last || m.End <= m.Offset || m.Body+m.Size > m.End || m.End > int64(len(b)) {
					t.Fatalf("%+v", m)
				}
				if again, err := readAt(bytes.NewReader(b), Place{1, uint32(m.Offset), uint32(m.End - m.Offset)}); err != nil || again.Body != m.Body {
					t.Fatalf("%+v, read at its place: %+v, %v", m, again, err)
				}
				last = m.End
				continue
			}
			var corrupt *CorruptError
			if errors.As(err, &corrupt) {
				at := s.Offset()
				var n int64
				if n, err = s.Skip(); n <= 0 && err != io.EOF || s.Offset() != at+n {
					t.Fatalf("skipped %d from %d to %d: %v", n, at, s.Offset(), err)
				}
			}
		}
		var corrupt *CorruptError
		if err != io.EOF && !errors.As(err, &corrupt) {
			t.Fatal(err)
		}
	})
}

// FuzzMetadata: what is read and may be written is read again as it was.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("Z7b\nR6b0219b9\nV83\nPu\nO7\nGd29f4c2db919026b5a51000083ecc375\nBINBOX\nQx\n\n"), int64(3))
	f.Add([]byte("Rffffffffffffffff\nVffffffffffffffff\nZ-1\nG\nG1\nX0 1 - a\n \n"), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, stored int64) {
		var m Metadata
		n, ok := m.parse(b)
		if n > len(b) || ok && n == 0 {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		if !ok || m.check() != nil || strings.ContainsAny(m.Folder, "\r\x00") {
			return
		}
		out := m.append(nil, stored)
		var again Metadata
		if n, ok := again.parse(out[len(trailer):]); !ok || n != len(out)-len(trailer) {
			t.Fatalf("%q is not whole", out)
		}
		if m.Physical == stored {
			m.Physical = -1
		}
		if fmt.Sprint(again) != fmt.Sprint(m) {
			t.Fatalf("%+v, again %+v", m, again)
		}
	})
}
