package storagetest

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"mailcrypt/compress"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

func TestMemory(t *testing.T) {
	for _, sep := range []byte{'.', '/'} {
		t.Run(string(rune(sep)), func(t *testing.T) {
			Run(t, func(*testing.T) Factory {
				m := NewMemory(sep)
				return Factory{Open: func() (storage.Hierarchy, error) { return m, nil }}
			})
		})
	}
}

// TestFaultyWithoutFaults has the wrapper change nothing.
func TestFaultyWithoutFaults(t *testing.T) {
	Run(t, func(*testing.T) Factory {
		m := NewMemory('/')
		return Factory{Open: func() (storage.Hierarchy, error) { return faultyHierarchy{m}, nil }}
	})
}

type faultyHierarchy struct{ *Memory }

func (h faultyHierarchy) Open(ctx context.Context, name string) (storage.Backend, error) {
	b, err := h.Memory.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Faulty{Backend: b}, nil
}

func TestFaulty(t *testing.T) {
	broken := errors.New("broken")
	inbox := func() storage.Backend {
		b, err := NewMemory('/').Open(t.Context(), mailbox.Inbox)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, op := range []Op{OpCreate, OpWrite, OpCommit} {
		f := &Faulty{Backend: inbox(), Fail: FailOn(broken, op)}
		if _, err := save(t.Context(), f, text(100), mailbox.SaveInfo{}); !errors.Is(err, broken) {
			t.Errorf("%s: %v, want %v", op, err, broken)
		}
		if n := f.View().Len(); n != 0 {
			t.Errorf("%s: %d messages are there", op, n)
		}
	}
	for n := int64(1); ; n++ {
		fail, steps := FailAt(n, broken)
		f := &Faulty{Backend: inbox(), Fail: fail}
		_, err := save(t.Context(), f, text(100), mailbox.SaveInfo{})
		if steps() < n {
			if err != nil || n != 4 {
				t.Errorf("%d steps and then %v; want 3: create, write, commit", n-1, err)
			}
			break
		}
		if !errors.Is(err, broken) {
			t.Errorf("fault at step %d: %v", n, err)
		}
	}
}

func TestCanaryFinds(t *testing.T) {
	c := NewCanary()
	w := c.Words()[3]
	zip := func(m compress.Method) []byte {
		var b strings.Builder
		z, err := compress.NewWriter(&b, m, compress.Default)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(c.Message())
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return []byte(b.String())
	}
	var utf16le, utf16be []byte
	for _, u := range utf16.Encode([]rune("äb" + w)) {
		utf16le = append(utf16le, byte(u), byte(u>>8))
		utf16be = append(utf16be, byte(u>>8), byte(u))
	}
	wrapped := base64.StdEncoding.EncodeToString([]byte("some text before " + w + " and after"))
	for name, b := range map[string][]byte{
		"raw":      []byte("x" + w + "y"),
		"upper":    []byte(strings.ToUpper(w)),
		"base64 0": []byte(base64.StdEncoding.EncodeToString([]byte("abc" + w + "z"))),
		"base64 1": []byte(base64.StdEncoding.EncodeToString([]byte("abcd" + w + "z"))),
		"base64 2": []byte(base64.RawURLEncoding.EncodeToString([]byte("abcde" + w + "zz"))),
		"lines":    []byte(wrapped[:30] + "\r\n" + wrapped[30:]),
		"UTF-16LE": utf16le,
		"UTF-16BE": utf16be,
		"gz":       zip(compress.Gzip),
		"lz4":      zip(compress.LZ4),
		"zstd":     zip(compress.Zstd),
	} {
		if form := c.Find(b); form == "" {
			t.Errorf("%s: not found", name)
		}
	}
	for _, b := range [][]byte{nil, NewCanary().Message(), []byte("canary")} {
		if form := c.Find(b); form != "" {
			t.Errorf("found as %s where it is not", form)
		}
	}
}

func TestCanaryCheck(t *testing.T) {
	c := NewCanary()
	root := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a/clean", NewCanary().Message())
	fake := &fakeTB{TB: t}
	if n := c.Check(fake, root); n != 1 || fake.errors != 0 {
		t.Errorf("clean: %d files, %d errors; want 1, 0", n, fake.errors)
	}
	write("a/leak", c.Message())
	write("b/"+c.Words()[0], nil)
	if err := os.Symlink("/nowhere/"+c.Words()[1], filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if n := c.Check(fake, root); n != 3 || fake.errors != 3 {
		t.Errorf("leaks: %d files, %d errors; want 3, 3", n, fake.errors)
	}
}

// A fakeTB counts errors instead of failing.
type fakeTB struct {
	testing.TB
	errors int
}

func (f *fakeTB) Errorf(string, ...any) { f.errors++ }
