package metadata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/mailbox"
)

// memory is a dictionary without a file.
type memory map[string]string

func (m memory) View(_ context.Context, fn func(attrdict.Reader) error) error { return fn(m) }
func (m memory) Update(_ context.Context, fn func(attrdict.Tx) error) error {
	tx := maps.Clone(m)
	if err := fn(tx); err != nil {
		return err
	}
	clear(m)
	maps.Copy(m, tx)
	return nil
}
func (m memory) Get(key string) ([]byte, error) {
	v, ok := m[key]
	if !ok {
		return nil, attrdict.ErrNotFound
	}
	return []byte(v), nil
}
func (m memory) Iterate(prefix string, fn func(string, []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, prefix) {
			if err := fn(k, []byte(m[k])); err != nil {
				return err
			}
		}
	}
	return nil
}
func (m memory) Set(key string, value []byte) error { m[key] = string(value); return nil }
func (m memory) Unset(key string) error             { delete(m, key); return nil }
func (m memory) Close() error                       { return nil }

var (
	inbox  = mailbox.GUID{1}
	folder = mailbox.GUID{2}
)

const secret = "SECRET"

// withKeys is a dictionary with every name under which keys are kept.
func withKeys() memory {
	m := memory{}
	for _, g := range []mailbox.GUID{inbox, folder} {
		for _, first := range []string{"priv/", "shared/"} {
			for _, server := range []string{"", pvtServer} {
				for _, name := range []string{"crypt/active", "crypt/pubkeys/01", "crypt/privkeys/01", "mailcrypt/pending/01", "mailcrypt/quarantine/01", "x", ""} {
					m[first+g.String()+"/"+server+pvt+"/"+name] = secret
				}
				m[first+g.String()+"/"+server+pvt] = secret
				m[first+g.String()+"/"+server+"Vendor/Vendor.Dovecot/PVT/crypt/active"] = secret
			}
		}
	}
	return m
}

func entry(t testing.TB, name string) Entry {
	t.Helper()
	e, err := ParseEntry(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func text(values []Value) string {
	var b strings.Builder
	for _, v := range values {
		if v.Data == nil {
			fmt.Fprintf(&b, "%s NIL;", v.Entry)
		} else {
			fmt.Fprintf(&b, "%s=%s;", v.Entry, v.Data)
		}
	}
	return b.String()
}

func TestEntryNames(t *testing.T) {
	for name, want := range map[string]string{
		"/private": "/private", "/SHARED": "/shared", "/Private/Comment": "/private/comment", "/shared/vendor/x/a b\"{(": "/shared/vendor/x/a b\"{(",
		"/private/...": "/private/...", "/private/.a": "/private/.a",
	} {
		e, err := ParseEntry(name)
		if err != nil || e.String() != want {
			t.Errorf("%q is %q, %v; want %q", name, e, err, want)
		}
	}
	for _, name := range []string{"", "/", "private/x", "/privat/x", "/privatex", "/private/", "/private//x", "//private/x", "/private/x/", "/private/*", "/private/%",
		"/private/\x00", "/private/\x19", "/private/\x1f", "/private/\x7f", "/private/\xc3\xa4", "/private/./x", "/private/../shared/x", "/private/x/..", "/other/comment",
		"/private/" + strings.Repeat("x", 1000), "/private/&AOQ-*", " /private/x", "/ private/x"} {
		if e, err := ParseEntry(name); !errors.Is(err, ErrEntry) {
			t.Errorf("%q is taken for %q", name, e)
		}
	}
}

func TestGetAndSet(t *testing.T) {
	ctx := context.Background()
	m := withKeys()
	s := New(m, Limits{})
	box, server := Mailbox(folder), Server(inbox)
	set := func(scope Scope, pairs ...string) {
		t.Helper()
		var values []Value
		for i := 0; i < len(pairs); i += 2 {
			v := Value{Entry: entry(t, pairs[i])}
			if pairs[i+1] != "NIL" {
				v.Data = []byte(pairs[i+1])
			}
			values = append(values, v)
		}
		if err := s.Set(ctx, scope, values); err != nil {
			t.Fatal(err)
		}
	}
	want := func(scope Scope, depth int, want string, names ...string) {
		t.Helper()
		var entries []Entry
		for _, n := range names {
			entries = append(entries, entry(t, n))
		}
		got, err := s.Get(ctx, scope, entries, depth)
		if err != nil || text(got) != want {
			t.Errorf("%q at depth %d: %q, %v; want %q", names, depth, text(got), err, want)
		}
	}
	set(box, "/private/Comment", "mine", "/shared/comment", "", "/private/vendor/a/b", "1", "/private/vendor/a/b/c", "2", "/private/vendor/ab", "3")
	set(server, "/private/comment", "the server's", "/shared/vendor/x", "a\x00b\r\n\xff")
	for name, value := range map[string]string{
		"priv/" + folder.String() + "/comment": "mine", "shared/" + folder.String() + "/comment": "",
		"priv/" + inbox.String() + "/vendor/vendor.dovecot/pvt/server/comment": "the server's",
	} {
		if got, ok := m[name]; !ok || got != value {
			t.Errorf("%s is %q, %v; want %q", name, got, ok, value)
		}
	}
	want(box, 0, "/private/comment=mine;/shared/comment=;/private/none NIL;", "/PRIVATE/comment", "/shared/comment", "/private/none", "/private/comment")
	want(server, 0, "/private/comment=the server's;/shared/vendor/x=a\x00b\r\n\xff;", "/private/comment", "/shared/vendor/x")
	want(box, 0, "/private/vendor NIL;/private NIL;", "/private/vendor", "/private")
	want(box, 1, "/private/comment=mine;", "/private")
	want(box, 1, "/private/vendor/ab=3;", "/private/vendor")
	want(box, 1, "/private/vendor/a/b=1;", "/private/vendor/a")
	want(box, 1, "/private/vendor/a/b=1;/private/vendor/a/b/c=2;", "/private/vendor/a/b")
	want(box, Infinity, "/private/vendor/a/b=1;/private/vendor/a/b/c=2;", "/private/vendor/a")
	want(box, Infinity, "/private/comment=mine;/private/vendor/a/b=1;/private/vendor/a/b/c=2;/private/vendor/ab=3;/shared/comment=;", "/private", "/shared", "/private/vendor")
	want(server, Infinity, "/private/comment=the server's;/shared/vendor/x=a\x00b\r\n\xff;", "/private", "/shared")
	want(Mailbox(inbox), Infinity, "", "/private", "/shared")
	set(box, "/private/comment", "NIL", "/private/none", "NIL", "/private/vendor/a/b", "other")
	want(box, 0, "/private/comment NIL;/private/vendor/a/b=other;", "/private/comment", "/private/vendor/a/b")
	// All or none.
	if err := s.Set(ctx, box, []Value{{entry(t, "/private/vendor/a/b"), []byte("x")}, {entry(t, "/private"), []byte("x")}}); !errors.Is(err, ErrInternal) {
		t.Errorf("setting /private: %v", err)
	}
	want(box, 0, "/private/vendor/a/b=other;", "/private/vendor/a/b")
}

// The spellings of names that lead to keys, for those who have heard of them.
func TestKeysAreNotThere(t *testing.T) {
	ctx := context.Background()
	var names []string
	for _, scope := range []string{"/private", "/shared", "/PRIVATE", "/Shared"} {
		for _, rest := range []string{"", "/vendor", "/vendor/vendor.dovecot", "/vendor/vendor.dovecot/pvt", "/VENDOR/vendor.DOVECOT/Pvt",
			"/vendor/vendor.dovecot/pvt/crypt", "/vendor/vendor.dovecot/pvt/crypt/active", "/vendor/vendor.dovecot/pvt/crypt/privkeys",
			"/vendor/vendor.dovecot/pvt/crypt/privkeys/01", "/vendor/vendor.dovecot/pvt/crypt/pubkeys/01", "/vendor/vendor.dovecot/PVT/crypt/active",
			"/vendor/vendor.dovecot/pvt/server", "/vendor/vendor.dovecot/pvt/server/comment", "/vendor/vendor.dovecot/pvt/x",
			"/vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/crypt/active", "/vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/mailcrypt/pending/01",
			"/vendor/vendor.dovecot/pvt/mailcrypt/quarantine/01",
			// And those that are no names at all.
			"/vendor//vendor.dovecot/pvt/crypt/active", "/vendor/./vendor.dovecot/pvt/crypt/active", "/vendor/x/../vendor.dovecot/pvt/crypt/active",
			"/vendor/vendor.dovecot/pvt/", "/vendor/vendor.dovecot/pvt/crypt/active/", "/vendor/vendor.dovecot/%", "/vendor/vendor.dovecot/*", "/*", "/%",
			"/vendor/vendor.dovecot/p&AHY-t/crypt/active", "/vendor/vendor.dovecot/pvt\x00/crypt", "/../" + folder.String() + "/vendor/vendor.dovecot/pvt/crypt/active",
		} {
			names = append(names, scope+rest)
		}
	}
	m := withKeys()
	before := maps.Clone(m)
	s := New(m, Limits{})
	for _, scope := range []Scope{Mailbox(folder), Mailbox(inbox), Server(inbox)} {
		for _, name := range names {
			e, err := ParseEntry(name)
			if err != nil {
				continue
			}
			for _, depth := range []int{0, 1, 2, Infinity} {
				values, err := s.Get(ctx, scope, []Entry{e}, depth)
				if err != nil || strings.Contains(text(values), secret) {
					t.Errorf("%s at depth %d: %q, %v", name, depth, text(values), err)
				}
			}
			for _, data := range [][]byte{nil, []byte("x")} {
				err := s.Set(ctx, scope, []Value{{e, data}})
				if strings.Contains(name, "&") || strings.HasSuffix(name, "/vendor") || strings.HasSuffix(name, "/vendor.dovecot") {
					continue // names like others
				}
				if !errors.Is(err, ErrInternal) {
					t.Errorf("setting %s: %v, want ErrInternal", name, err)
				}
			}
		}
	}
	if u, err := s.usage(withKeys(), Mailbox(inbox)); err != nil || u != (usage{}) {
		t.Errorf("keys are counted: %+v, %v", u, err)
	}
	for name, value := range before {
		if m[name] != value {
			t.Errorf("%s was changed to %q", name, m[name])
		}
	}
}

func TestLimits(t *testing.T) {
	ctx := context.Background()
	s := New(withKeys(), Limits{Value: 10, Mailbox: 3, User: 5, Bytes: 1000})
	try := func(scope Scope, name, value string) error {
		return s.Set(ctx, scope, []Value{{entry(t, name), []byte(value)}})
	}
	box, server, other := Mailbox(folder), Server(inbox), Mailbox(inbox)
	var large *ValueError
	if err := try(box, "/private/1", "12345678901"); !errors.As(err, &large) || large.Max != 10 {
		t.Errorf("11 bytes: %v", err)
	}
	for _, name := range []string{"/private/1", "/private/2", "/shared/3"} {
		if err := try(box, name, "1234567890"); err != nil {
			t.Fatal(err)
		}
	}
	if err := try(box, "/private/4", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("a fourth of a mailbox: %v", err)
	}
	if err := try(box, "/private/1", "x"); err != nil {
		t.Errorf("replacing: %v", err)
	}
	for _, scope := range []Scope{server, other} {
		if err := try(scope, "/private/1", ""); err != nil {
			t.Errorf("of another: %v", err)
		}
	}
	if err := try(other, "/private/2", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("a sixth of the user: %v", err)
	}
	if err := s.Set(ctx, other, []Value{{entry(t, "/private/1"), nil}, {entry(t, "/private/2"), []byte("x")}}); err != nil {
		t.Errorf("one for another: %v", err)
	}
	// Limits that were lowered forbid nothing that makes less.
	s.limits = Limits{Value: 10, Mailbox: 1, User: 1, Bytes: 1}
	if err := try(box, "/private/2", "123456789"); err != nil {
		t.Errorf("a shorter value: %v", err)
	}
	if err := try(box, "/private/2", "1234567890"); !errors.Is(err, ErrTooMany) {
		t.Errorf("a longer value: %v", err)
	}
}

// What dictionaries do to values is nothing.
func TestRealDictionaries(t *testing.T) {
	ctx := context.Background()
	for _, uri := range []string{"bolt:~/keys.db", "file:~/attributes"} {
		dict, err := attrdict.Open(uri, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := New(dict, Limits{})
		values := []Value{{entry(t, "/private/a"), []byte("\x00\x01\t\r\n\xff")}, {entry(t, "/private/empty"), []byte{}}, {entry(t, "/shared/large"), []byte(strings.Repeat("x", 64<<10))}}
		if err := s.Set(ctx, Mailbox(folder), values); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(ctx, Mailbox(folder), []Entry{entry(t, "/private"), entry(t, "/shared")}, Infinity)
		if err != nil || text(got) != text(values) {
			t.Errorf("%s: %.200q, %v", uri, text(got), err)
		}
		if err := dict.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzKeysAreNotThere(f *testing.F) {
	f.Add("/private/vendor/vendor.dovecot/pvt/crypt/active", "/shared", 1, true)
	f.Add("/SHARED/vendor/vendor.dovecot/pvt/server/vendor/vendor.dovecot/pvt/crypt/privkeys/01", "/private/vendor", -1, false)
	f.Add("/private/vendor/../vendor.dovecot", "/private/comment", 5, true)
	f.Fuzz(func(t *testing.T, name, second string, depth int, server bool) {
		ctx := context.Background()
		m := withKeys()
		before := maps.Clone(m)
		s := New(m, Limits{})
		scope := Mailbox(inbox)
		if server {
			scope = Server(inbox)
		}
		var entries []Entry
		var values []Value
		for _, n := range []string{name, second} {
			e, err := ParseEntry(n)
			if err != nil {
				if !errors.Is(err, ErrEntry) {
					t.Fatal(err)
				}
				continue
			}
			if again, err := ParseEntry(e.String()); err != nil || again != e {
				t.Fatalf("%q becomes %q, %v", e, again, err)
			}
			entries, values = append(entries, e), append(values, Value{e, []byte("x")})
		}
		got, err := s.Get(ctx, scope, entries, depth)
		if err != nil || strings.Contains(text(got), secret) {
			t.Fatalf("%q: %q, %v", entries, text(got), err)
		}
		if err := s.Set(ctx, scope, values); err == nil {
			got, err := s.Get(ctx, scope, entries, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range got {
				if string(v.Data) != "x" {
					t.Fatalf("%s was set and is %q", v.Entry, v.Data)
				}
			}
		} else if !errors.Is(err, ErrInternal) {
			t.Fatal(err)
		}
		for name, value := range before {
			if m[name] != value {
				t.Fatalf("%s was changed", name)
			}
		}
	})
}
