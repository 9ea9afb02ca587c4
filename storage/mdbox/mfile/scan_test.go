package mfile

import (
	"bytes"
	"encoding/json"
	"errors"
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

func FuzzScanner(f *testing.F) {
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := NewScanner(bytes.NewReader(b), int64(len(b)))
		for last := int64(0); err == nil; {
			var m Record
			if m, err = s.Next(); err == nil && (m.Offset < last || m.End <= m.Offset || m.Body+m.Size > m.End || m.End > int64(len(b))) {
				t.Fatalf("%+v", m)
			}
			last = m.End
		}
		var corrupt *CorruptError
		if err != io.EOF && !errors.As(err, &corrupt) {
			t.Fatal(err)
		}
	})
}
