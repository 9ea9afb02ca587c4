package userdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openFile(t *testing.T, text string, o Options) (*PasswdFile, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	writeFile(t, path, text)
	p, err := OpenPasswdFile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, path
}

func TestLookup(t *testing.T) {
	ctx := context.Background()
	p, _ := openFile(t, strings.Join([]string{
		"# comment",
		"",
		":{PLAIN}x:::::",
		"full@ex.org:{PLAIN}pass:1000:1001:Joe Doe:/home/%d/%n:/bin/sh:userdb_a=1 b=2 c userdb_d=x:y:z=:  e=",
		"home:{PLAIN}pass:::::/bin/sh:userdb_home=/other/%u uid=7 userdb_gid=8",
		"both:{PLAIN}pass::::::userdb_a=1 a=2 b=3 userdb_b=4 c=5 c=6",
		"short:{PLAIN}pass",
		"name",
		"quoted:{PLAIN}pass::::::a=\"x y\" tab=1\t2",
		"crlf:{PLAIN}pass:::::\r",
		"twice:{PLAIN}one:::::",
		"twice:{PLAIN}two:::::",
		"baduid:{PLAIN}pass:nobody-of-this-name::::",
		"zerouid:{PLAIN}pass:0::::",
		"hugeuid:{PLAIN}pass:99999999999::::",
		"badhome:{PLAIN}pass::::::userdb_home=%{nope}",
		"badfield:{PLAIN}pass::::::a=1 =x",
		"Upper:{PLAIN}pass:::::",
		"last:{PLAIN}pass:::::",
	}, "\n"), Options{})
	for _, tt := range []struct {
		name string
		want User
	}{
		{"full@ex.org", User{"full@ex.org", "/home/%d/%n", 1000, 1001, map[string]string{"a": "1", "b": "2", "c": "yes", "d": "x:y:z=:", "e": ""}}},
		{"FULL@ex.ORG", User{"full@ex.org", "/home/%d/%n", 1000, 1001, map[string]string{"a": "1", "b": "2", "c": "yes", "d": "x:y:z=:", "e": ""}}},
		{"home", User{"home", "/other/home", 7, 8, map[string]string{}}},
		{"both", User{"both", "", -1, -1, map[string]string{"a": "1", "b": "4", "c": "6"}}},
		{"short", User{"short", "", -1, -1, map[string]string{}}},
		{"name", User{"name", "", -1, -1, map[string]string{}}},
		{"quoted", User{"quoted", "", -1, -1, map[string]string{"a": "\"x", "y\"": "yes", "tab": "1\t2"}}},
		{"crlf", User{"crlf", "", -1, -1, map[string]string{}}},
		{"twice", User{"twice", "", -1, -1, map[string]string{}}},
		{"last", User{"last", "", -1, -1, map[string]string{}}},
	} {
		u, err := p.Lookup(ctx, tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if u.Name != tt.want.Name || u.Home != tt.want.Home || u.UID != tt.want.UID || u.GID != tt.want.GID || !maps.Equal(u.Fields, tt.want.Fields) {
			t.Errorf("%s: got %+v, want %+v", tt.name, *u, tt.want)
		}
		u.Fields["a"] = "changed" // the map is the caller's
	}
	if _, err := p.Authenticate(ctx, "twice", []byte("one")); err != nil {
		t.Errorf("the first line must count: %v", err)
	}
	for name, line := range map[string]int{"baduid": 13, "zerouid": 14, "hugeuid": 15, "badhome": 16, "badfield": 17} {
		var le *LineError
		if _, err := p.Lookup(ctx, name); !errors.As(err, &le) || le.Line != line || errors.Is(err, ErrNoUser) {
			t.Errorf("%s: %v, want an error of line %d", name, err, line)
		}
		if _, err := p.Authenticate(ctx, name, []byte("pass")); !errors.As(err, &le) || errors.Is(err, ErrAuth) {
			t.Errorf("%s: login: %v, want an error of its line", name, err)
		}
	}
	for _, name := range []string{"nobody", "", "# comment", "Upper", "../x", "a/b", "x\x00", "full@ex.org:", strings.Repeat("x", 300)} {
		if _, err := p.Lookup(ctx, name); !errors.Is(err, ErrNoUser) {
			t.Errorf("%q: %v, want ErrNoUser", name, err)
		}
	}
	var good, bad []string
	for u, err := range p.Users(ctx) {
		if err != nil {
			bad = append(bad, err.Error())
		} else {
			good = append(good, u.Name)
		}
	}
	if want := "full@ex.org home both short name quoted crlf twice Upper last"; strings.Join(good, " ") != want || len(bad) != 5 {
		t.Errorf("Users: %v and %d errors; want %s and 5", good, len(bad), want)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"joe", "joe@ex.org", "a.b-c_D9", "a@b@c", ".hidden"} {
		if err := CheckName(name, ""); err != nil {
			t.Error(err)
		}
	}
	all := make([]byte, 0, 256)
	for c := range 256 {
		all = append(all, byte(c))
	}
	for _, name := range []string{"", ".", "..", "a/b", "/", "a..b", "@", "joe@", "@ex.org", "joe@.", "a@@b", "a\x00b", "a\nb", "a\x7f", "a:b", strings.Repeat("x", 256)} {
		if err := CheckName(name, string(all)); !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q) = %v, want ErrName", name, err)
		}
	}
	for _, name := range []string{"a b", "a%b", "jö", "a+b", "a'b", "a\\b", "a*b"} {
		if err := CheckName(name, ""); !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q) = %v, want ErrName", name, err)
		}
		if err := CheckName(name, string(all)); err != nil {
			t.Errorf("CheckName(%q) with all characters: %v", name, err)
		}
	}
}

func TestFormats(t *testing.T) {
	ctx := context.Background()
	p, _ := openFile(t, "joe:{PLAIN}pass:::::\nJoe@ex.org:{PLAIN}pass:::::\n", Options{UsernameFormat: "%u", KeyFormat: "%n"})
	u, err := p.Lookup(ctx, "joe@any.domain")
	if err != nil || u.Name != "joe@any.domain" {
		t.Errorf("Lookup = %+v, %v", u, err)
	}
	for _, format := range []string{"%x", "%{password}", "%h"} {
		if _, err := OpenPasswdFile(p.path, Options{UsernameFormat: format}); err == nil {
			t.Errorf("format %q was accepted", format)
		}
	}
	// A format cannot make a name that leaves its place.
	q, _ := openFile(t, "a:{PLAIN}pass:::::\n", Options{UsernameFormat: "%d/../%n"})
	if _, err := q.Lookup(ctx, "a@b"); !errors.Is(err, ErrName) {
		t.Errorf("a name with a slash: %v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	ctx := context.Background()
	p, _ := openFile(t, strings.Join([]string{
		"joe:{PLAIN}pass:::::",
		"crypt:$5$OL5VTVK1jm7KZn9l$ndgiWIsUJinpb9mECdgAeF/vdxqQ3NGidua0XyTj9p.:::::",
		"empty::::::",
		"nopassword:::::::nopassword",
		"nologin:{PLAIN}pass::::::nologin",
		"bracket:{PLAIN}a[34]:::::",
		"pam:5ebe2294ecd0e0f08eab7690d2a6ee69[34]:::::",
		"badhash:{SHA}zz:::::",
		"unknown:{NOPE}x:::::",
		"digest@ex.org:{DIGEST-MD5}" + fmt.Sprintf("%x", sum(hashByName("md5"), []byte("digest:ex.org:pass"))) + ":::::",
	}, "\n"), Options{MaxHashing: 1})
	for _, tt := range []struct {
		name, password string
		want           error // nil, ErrAuth, or errLine
	}{
		{"joe", "pass", nil},
		{"JOE", "pass", nil},
		{"joe", "Pass", ErrAuth},
		{"joe", "", ErrAuth},
		{"joe", "pass\x00", ErrAuth},
		{"crypt", "secret", nil},
		{"crypt", "pass", ErrAuth},
		{"empty", "", ErrAuth},
		{"nopassword", "", ErrAuth},
		{"nopassword", "any", ErrAuth},
		{"nologin", "pass", ErrAuth},
		{"bracket", "a[34]", nil},
		{"bracket", "a", ErrAuth},
		{"pam", "secret", nil},
		{"digest@ex.org", "pass", nil},
		{"nobody", "pass", ErrAuth},
		{"../joe", "pass", ErrAuth},
		{"badhash", "zz", ErrHash},
		{"unknown", "x", ErrScheme},
	} {
		u, err := p.Authenticate(ctx, tt.name, []byte(tt.password))
		switch {
		case tt.want == nil:
			if err != nil || u == nil {
				t.Errorf("%s with %q: %v", tt.name, tt.password, err)
			}
		case tt.want == ErrAuth:
			if !errors.Is(err, ErrAuth) || u != nil {
				t.Errorf("%s with %q: %v, want ErrAuth", tt.name, tt.password, err)
			}
		default:
			var le *LineError
			if !errors.As(err, &le) || errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), tt.want.Error()) {
				t.Errorf("%s with %q: %v, want an error of the line: %v", tt.name, tt.password, err, tt.want)
			}
		}
	}
	p.hashing <- struct{}{} // somebody is at it
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := p.Authenticate(short, "joe", []byte("pass")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no turn: %v, want the context's error", err)
	}
	<-p.hashing
}

// Unknown users are compared with a hash that costs as much as the others'.
func TestUnknownUserSample(t *testing.T) {
	const hash = "{SHA512-CRYPT}$6$rounds=7000$2TmrUpXOOFOWCGYo$B8fBVDOGggavhdKIM7ejGqdAGqPw0gZd2NUTGWtPPQhaklBQs.qpfotTT3GZUUcd8ckUW./NnkmS4n5Ju85Lr/"
	if got := parseTable([]byte("a:{NOPE}x:::::\nb::::::\nc:" + hash + ":::::\n")).sample; got != hash {
		t.Errorf("sample %q, want the first hash of the file", got)
	}
	if err := Verify("x", fallbackSample, []byte("x")); !errors.Is(err, ErrPassword) {
		t.Errorf("the fallback is no hash: %v", err)
	}
}

func TestReload(t *testing.T) {
	ctx := context.Background()
	var mu sync.Mutex
	var log bytes.Buffer
	p, path := openFile(t, "joe:{PLAIN}one:::::\n", Options{Log: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))})
	login := func(password string) error {
		_, err := p.Authenticate(ctx, "joe", []byte(password))
		return err
	}
	if err := login("one"); err != nil {
		t.Fatal(err)
	}
	for i, change := range []func(string){
		func(text string) { writeFile(t, path, text) }, // in place, same size
		func(text string) {
			writeFile(t, path+".new", text)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		password := []string{"two", "six"}[i]
		change("joe:{PLAIN}" + password + ":::::\n")
		if err := login(password); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	// A broken line disables its user alone.
	writeFile(t, path, "joe:{PLAIN}six:::::\nbob:{PLAIN}x:zero::::\n")
	if err := login("six"); err != nil {
		t.Error(err)
	}
	mu.Lock()
	if got := log.String(); !strings.Contains(got, "line 2") || strings.Contains(got, "PLAIN") {
		t.Errorf("log does not name the line, or shows it: %s", got)
	}
	mu.Unlock()
	// A file that cannot be read leaves what was read last.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := login("six"); err != nil {
		t.Errorf("file gone: %v", err)
	}
	if err := p.Err(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Err() = %v, want not found", err)
	}
	writeFile(t, path, "joe:{PLAIN}ten:::::\n")
	if err := login("ten"); err != nil {
		t.Errorf("file back: %v", err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// The watcher sees a change although nobody looks anybody up.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	writeFile(t, path, "")
	seen := make(chan struct{}, 100)
	w, err := watch(path, func() { seen <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path+".other", "")
	writeFile(t, path, "joe:x\n")
	<-seen
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo, filepath.Join(dir, "missing")} {
		if p, err := OpenPasswdFile(path, Options{}); err == nil {
			p.Close()
			t.Errorf("opened %s", path)
		}
	}
	p, _ := openFile(t, "joe:{PLAIN}x\n", Options{NoWatch: true})
	q, err := OpenPasswdFile(p.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lookup(context.Background(), "joe"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := q.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestSetPassword(t *testing.T) {
	ctx := context.Background()
	before := "# users\n\njoe:{PLAIN}old:1:2:g:/h:/s:f=1 userdb_x=a:b\r\n" +
		"joe:{PLAIN}second:::::\nshort:{PLAIN}s\nbare\n#joe:{PLAIN}no\nlast:{PLAIN}l"
	p, path := openFile(t, before, Options{})
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"JOE", "short", "bare", "last"} {
		hash, err := HashPassword("SSHA256", []byte("new "+name))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetPassword(ctx, name, hash); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Authenticate(ctx, name, []byte("new "+name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := func(name string) string { return p.table.byName[name].hash }
	want := "# users\n\njoe:" + h("joe") + ":1:2:g:/h:/s:f=1 userdb_x=a:b\r\n" +
		"joe:{PLAIN}second:::::\nshort:" + h("short") + "\nbare:" + h("bare") + "\n#joe:{PLAIN}no\nlast:" + h("last")
	if string(got) != want {
		t.Errorf("file holds\n%q, want\n%q", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, tt := range []struct {
		name, hash string
		want       error
	}{
		{"nobody", "{PLAIN}x", ErrNoUser},
		{"# users", "{PLAIN}x", ErrName},
		{"joe", "{PLAIN}x:y", ErrHash},
		{"joe", "{PLAIN}x\ny:{PLAIN}z", ErrHash},
		{"joe", "{NOPE}x", ErrScheme},
		{"joe", "plain text", nil}, // no scheme: crypt, of which Verify tells
	} {
		err := p.SetPassword(ctx, tt.name, tt.hash)
		if !errors.Is(err, tt.want) {
			t.Errorf("SetPassword(%q, %q): %v, want %v", tt.name, tt.hash, err, tt.want)
		}
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A symbolic link stays one; what it names is changed.
func TestSetPasswordThroughLink(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	writeFile(t, target, "joe:{PLAIN}old\n")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPasswdFile(link, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetPassword(ctx, "joe", "{PLAIN}new"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(target); string(got) != "joe:{PLAIN}new\n" {
		t.Errorf("target holds %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}

func TestAddDelete(t *testing.T) {
	ctx := context.Background()
	p, path := openFile(t, "joe:{PLAIN}x", Options{})
	u := User{Name: "Ann@ex.org", Home: "/h", UID: 5, GID: -1, Fields: map[string]string{"b": "2:3", "a": "%{sha256:password}"}}
	if err := p.Add(ctx, u, "{PLAIN}y"); err != nil {
		t.Fatal(err)
	}
	want := "joe:{PLAIN}x\nann@ex.org:{PLAIN}y:5:::/h::userdb_a=%{sha256:password} userdb_b=2:3\n"
	if got, _ := os.ReadFile(path); string(got) != want {
		t.Errorf("file holds %q, want %q", got, want)
	}
	got, err := p.Lookup(ctx, "ann@ex.org")
	if err != nil || got.Home != "/h" || got.UID != 5 || got.GID != -1 || !maps.Equal(got.Fields, u.Fields) {
		t.Errorf("Lookup = %+v, %v", got, err)
	}
	if err := p.Add(ctx, u, "{PLAIN}y"); !errors.Is(err, ErrExists) {
		t.Errorf("second Add: %v", err)
	}
	for _, bad := range []User{
		{Name: "x:y"}, {Name: ""}, {Name: "x", Home: "/a:b"}, {Name: "x", Home: "/a\nb"},
		{Name: "x", Fields: map[string]string{"a": "b c"}}, {Name: "x", Fields: map[string]string{"a=b": "c"}},
		{Name: "x", Fields: map[string]string{"": "c"}}, {Name: "x", Fields: map[string]string{"a": "b\nroot:x"}},
	} {
		if err := p.Add(ctx, bad, "{PLAIN}y"); err == nil {
			t.Errorf("added %+v", bad)
		}
	}
	if err := p.Delete(ctx, "joe"); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(ctx, "joe"); !errors.Is(err, ErrNoUser) {
		t.Errorf("second Delete: %v", err)
	}
	if _, err := p.Lookup(ctx, "joe"); !errors.Is(err, ErrNoUser) {
		t.Errorf("deleted: %v", err)
	}
}

// Changes from several openings at once are all there.
func TestConcurrentEdits(t *testing.T) {
	ctx := context.Background()
	p, path := openFile(t, "", Options{})
	q, err := OpenPasswdFile(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		db := []*PasswdFile{p, q}[i%2]
		wg.Go(func() {
			for n := range 5 {
				if err := db.Add(ctx, User{Name: fmt.Sprintf("u%d.%d", i, n)}, "{PLAIN}x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	count := 0
	for _, err := range q.Users(ctx) {
		if err != nil {
			t.Error(err)
		}
		count++
	}
	if count != 40 {
		t.Errorf("%d of 40 users are there", count)
	}
}

func FuzzPasswdFile(f *testing.F) {
	f.Add([]byte("# c\n\njoe:{PLAIN}pass:1000:1000:g:/h:/s:userdb_a=1 b c=x:y\r\nname\n:x\ntwice:a\ntwice:b\nlast:{PLAIN}x"), "joe", "{PLAIN}new")
	f.Add([]byte("a::::::: =x\nb:x:0:-1\nc:x[34]\nd:x:::::::\x00"), "a", "$5$x$y")
	for _, hash := range recorded(f) {
		f.Add([]byte("joe@ex.org:"+hash+":::::\n"), "joe@ex.org", hash)
	}
	f.Fuzz(func(t *testing.T, text []byte, name, hash string) {
		table := parseTable(text)
		for _, e := range table.order {
			if e.name == "" || strings.ContainsAny(e.name, ":\n") || strings.Contains(e.hash, "\n") {
				t.Fatalf("entry %+v", e)
			}
			if _, _, err := parseHash(e.hash); err != nil && !errors.Is(err, ErrHash) && !errors.Is(err, ErrScheme) {
				t.Fatalf("untyped error %v", err)
			}
		}
		// A change of one user's password is read back and leaves the others alone.
		lines := bytes.SplitAfter(text, []byte{'\n'})
		i := findLine(lines, name)
		if (i >= 0) != (table.byName[name] != nil) && name != "" && CheckName(name, "") == nil {
			t.Fatalf("findLine = %d, table has %v", i, table.byName[name])
		}
		if i < 0 || CheckName(name, "") != nil || checkHash(hash) != nil || libpamHash(hash) != hash {
			return
		}
		lines[i] = replaceHash(lines[i], name, hash)
		after := parseTable(bytes.Join(lines, nil))
		if len(after.order) != len(table.order) || after.byName[name] == nil || after.byName[name].hash != hash {
			t.Fatalf("after the change: %+v", after.byName[name])
		}
		if !slices.EqualFunc(table.order, after.order, func(a, b *entry) bool {
			return a.name == b.name && (a.name == name || a.hash == b.hash) && maps.Equal(a.fields, b.fields)
		}) {
			t.Fatal("the change touched another user")
		}
	})
}
