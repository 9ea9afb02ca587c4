package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// stores opens each kind of dictionary at a path of the test's own.
var stores = []struct {
	name string
	open func(path string) (Dict, error)
}{
	{"bolt", func(p string) (Dict, error) { return OpenBolt(p, BoltOptions{}) }},
	{"file", func(p string) (Dict, error) { return OpenFile(p, FileOptions{}) }},
	{"file-fcntl", func(p string) (Dict, error) { return OpenFile(p, FileOptions{Lock: LockFcntl}) }},
	{"file-flock", func(p string) (Dict, error) { return OpenFile(p, FileOptions{Lock: LockFlock}) }},
}

// each runs a test on every kind of store, with a function that opens the same file again.
func each(t *testing.T, test func(t *testing.T, open func() Dict)) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sub", "dict")
			test(t, func() Dict {
				t.Helper()
				d, err := s.open(path)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}

func set(t *testing.T, d Dict, pairs ...string) {
	t.Helper()
	err := d.Update(context.Background(), func(tx Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Set(pairs[i], []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dump returns all pairs with a prefix as "key=value" lines.
func dump(t *testing.T, d Dict, prefix string) string {
	t.Helper()
	var b strings.Builder
	err := d.View(context.Background(), func(r Reader) error {
		b.Reset()
		return r.Iterate(prefix, func(k string, v []byte) error {
			fmt.Fprintf(&b, "%q=%q\n", k, v)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDictBasics(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, open func() Dict) {
		d := open()
		err := d.View(ctx, func(r Reader) error {
			_, err := r.Get("priv/x")
			return err
		})
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("Get in an empty dictionary: %v, want ErrNotFound", err)
		}
		set(t, d, "priv/b", "2", "priv/a", "1", "shared/c", "", "priv", "p", "priv/\xff", "high", "priv/a/x", "deep")
		want := "\"priv/a\"=\"1\"\n\"priv/a/x\"=\"deep\"\n\"priv/b\"=\"2\"\n\"priv/\\xff\"=\"high\"\n"
		if got := dump(t, d, "priv/"); got != want {
			t.Errorf("priv/:\n%s\nwant\n%s", got, want)
		}
		err = d.View(ctx, func(r Reader) error {
			v, err := r.Get("shared/c")
			if err == nil && (v == nil || len(v) != 0) {
				err = fmt.Errorf("empty value is %v", v)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		err = d.Update(ctx, func(tx Tx) error {
			return errors.Join(tx.Unset("priv/b"), tx.Unset("priv/none"))
		})
		if err != nil {
			t.Error(err)
		}
		all := dump(t, d, "")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			d.Close(),
			d.View(ctx, func(Reader) error { return nil }),
			d.Update(ctx, func(Tx) error { return nil }),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v, want ErrClosed", err)
			}
		}
		d = open()
		defer d.Close()
		if got := dump(t, d, ""); got != all || strings.Contains(got, "priv/b") {
			t.Errorf("reopened:\n%s\nwant\n%s", got, all)
		}
	})
}

func TestDictTransactions(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, open func() Dict) {
		d := open()
		defer d.Close()
		set(t, d, "k/1", "one", "k/2", "two")
		mine := errors.New("mine")
		err := d.Update(ctx, func(tx Tx) error {
			if err := errors.Join(tx.Set("k/3", []byte("three")), tx.Unset("k/1"), tx.Set("k/2", []byte("zwei"))); err != nil {
				return err
			}
			if _, err := tx.Get("k/1"); !errors.Is(err, ErrNotFound) {
				t.Errorf("Get of a removed key: %v", err)
			}
			if v, err := tx.Get("k/2"); string(v) != "zwei" || err != nil {
				t.Errorf("Get of a changed key: %q, %v", v, err)
			}
			seen := ""
			err := tx.Iterate("k/", func(k string, v []byte) error {
				seen += k + "=" + string(v) + " "
				return errors.Join(tx.Unset(k), tx.Set("k/9", nil)) // Iterate must not mind
			})
			if want := "k/2=zwei k/3=three "; seen != want || err != nil {
				t.Errorf("Iterate: %q, %v; want %q", seen, err, want)
			}
			return mine
		})
		if err != mine {
			t.Errorf("Update returned %v, want the function's own error", err)
		}
		if got, want := dump(t, d, ""), "\"k/1\"=\"one\"\n\"k/2\"=\"two\"\n"; got != want {
			t.Errorf("after a failed transaction:\n%s", got)
		}
		value := []byte("mutable")
		if err := d.Update(ctx, func(tx Tx) error {
			defer clear(value)
			return tx.Set("k/4", value)
		}); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, d, "k/4"); got != "\"k/4\"=\"mutable\"\n" {
			t.Errorf("Set kept a reference: %s", got)
		}
		for _, err := range []error{
			d.View(ctx, func(r Reader) error { return r.Iterate("", func(string, []byte) error { return mine }) }),
			d.View(ctx, func(Reader) error { return mine }),
		} {
			if err != mine {
				t.Errorf("View returned %v, want the function's own error", err)
			}
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := d.Update(cancelled, func(tx Tx) error { return tx.Set("x", nil) }); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestDictLimits(t *testing.T) {
	each(t, func(t *testing.T, open func() Dict) {
		d := open()
		defer d.Close()
		for _, tt := range []struct {
			key   string
			value int
			want  error
		}{
			{"", 1, ErrKey},
			{strings.Repeat("k", maxKey), 1, nil},
			{strings.Repeat("k", maxKey+1), 1, ErrTooLarge},
			{"big", maxValue + 1, ErrTooLarge},
			{"large", 1 << 20, nil},
		} {
			err := d.Update(context.Background(), func(tx Tx) error { return tx.Set(tt.key, make([]byte, tt.value)) })
			if !errors.Is(err, tt.want) {
				t.Errorf("key of %d, value of %d: %v, want %v", len(tt.key), tt.value, err, tt.want)
			}
		}
	})
}

func TestDictPanicPasses(t *testing.T) {
	each(t, func(t *testing.T, open func() Dict) {
		d := open()
		defer d.Close()
		set(t, d, "k", "v")
		for _, run := range []func(){
			func() { _ = d.View(context.Background(), func(Reader) error { panic("mine") }) },
			func() {
				_ = d.Update(context.Background(), func(tx Tx) error {
					_ = tx.Set("k", []byte("half"))
					panic("mine")
				})
			},
		} {
			func() {
				defer func() {
					if p := recover(); p != "mine" {
						t.Errorf("recovered %v, want the caller's panic", p)
					}
				}()
				run()
			}()
		}
		if got := dump(t, d, ""); got != "\"k\"=\"v\"\n" {
			t.Errorf("after the panics:\n%s", got)
		}
		set(t, d, "k", "w") // no lock was left
	})
}

// Of many who compare and set, each round has one winner, whoever opened the dictionary.
func TestDictCompareAndSet(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, open func() Dict) {
		d := open()
		defer d.Close()
		const rounds, rivals = 5, 8
		var mu sync.Mutex
		winners := map[int]int{}
		for round := range rounds {
			key := fmt.Sprintf("shared/active%d", round)
			var wg sync.WaitGroup
			for i := range rivals {
				wg.Go(func() {
					err := d.Update(ctx, func(tx Tx) error { return CompareAndSet(tx, key, nil, []byte{byte('a' + i)}) })
					switch {
					case err == nil:
						mu.Lock()
						winners[round]++
						mu.Unlock()
					case !errors.Is(err, ErrChanged):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if winners[round] != 1 {
				t.Errorf("round %d has %d winners", round, winners[round])
			}
		}
		set(t, d, "k", "")
		for _, tt := range []struct {
			old, value []byte
			want       error
		}{
			{nil, []byte("x"), ErrChanged}, // there, though empty
			{[]byte("other"), []byte("x"), ErrChanged},
			{[]byte{}, []byte("x"), nil},
			{[]byte("x"), []byte("y"), nil},
		} {
			err := d.Update(ctx, func(tx Tx) error { return CompareAndSet(tx, "k", tt.old, tt.value) })
			if !errors.Is(err, tt.want) {
				t.Errorf("CompareAndSet from %q: %v, want %v", tt.old, err, tt.want)
			}
		}
	})
}

// Increments from many goroutines, for the file stores also through two openings.
func TestDictConcurrentUpdates(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, open func() Dict) {
		dicts := []Dict{open()}
		if _, ok := dicts[0].(*fileDict); ok {
			dicts = append(dicts, open())
		}
		const workers, each = 4, 10
		var wg sync.WaitGroup
		for i := range workers {
			d := dicts[i%len(dicts)]
			wg.Go(func() {
				for range each {
					err := d.Update(ctx, func(tx Tx) error {
						v, err := tx.Get("count")
						if err != nil && !errors.Is(err, ErrNotFound) {
							return err
						}
						return tx.Set("count", append(bytes.Clone(v), '+'))
					})
					if err != nil {
						t.Error(err)
						return
					}
					if err := d.View(ctx, func(r Reader) error { _, err := r.Get("count"); return err }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		want := fmt.Sprintf("%q=%q\n", "count", strings.Repeat("+", workers*each))
		for _, d := range dicts {
			if got := dump(t, d, ""); got != want {
				t.Errorf("got %s want %s", got, want)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOpenURI(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home 100%%h:x") // must not be expanded again
	for _, tt := range []struct {
		uri, path string // path relative to home; "" is an error
		home      string
	}{
		{"bolt:~/keys.db", "keys.db", home},
		{"bolt:%h/a/keys.db", "a/keys.db", home},
		{"file:~/dovecot-attributes", "dovecot-attributes", home},
		{"file:%h/attr:lock=fcntl", "attr", home},
		{"file:%h/attr:lock=flock", "attr", home},
		{"file:%h/attr:lock=dotlock", "attr", home},
		{"file:~/50%%", "50%", home},
		{"file:~/x:lock=other", "", home},
		{"bolt:~/x:lock=fcntl", "", home},
		{"bolt:keys.db", "", home},
		{"bolt:~keys.db", "", home},
		{"sql:~/x", "", home},
		{"keys.db", "", home},
		{"", "", home},
		{"bolt:~/keys.db", "", ""},
		{"bolt:%h/keys.db", "", ""},
	} {
		d, err := Open(tt.uri, tt.home)
		if (err == nil) != (tt.path != "") {
			t.Errorf("Open(%q, %q): %v", tt.uri, tt.home, err)
		}
		if err != nil {
			continue
		}
		set(t, d, "k", "v")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if found, _ := filepath.Glob(filepath.Join(filepath.Dir(home), "*", tt.path)); len(found) != 1 {
			t.Errorf("Open(%q): no file %s", tt.uri, tt.path)
		}
	}
}

func TestTransferMerge(t *testing.T) {
	for _, from := range stores {
		for _, to := range stores {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				dir := t.TempDir()
				src, err := from.open(filepath.Join(dir, "src"))
				if err != nil {
					t.Fatal(err)
				}
				defer src.Close()
				dst, err := to.open(filepath.Join(dir, "dst"))
				if err != nil {
					t.Fatal(err)
				}
				defer dst.Close()
				set(t, src, "priv/a", "1\n\x00\t\r\x01", "shared/b", "", "priv/c", strings.Repeat("long", 5000))
				set(t, dst, "other", "stays", "shared/b", "")
				if _, err := Transfer(t.Context(), dst, src, TransferOptions{Merge: true}); err != nil {
					t.Fatal(err)
				}
				if got, want := dump(t, dst, ""), "\"other\"=\"stays\"\n"+dump(t, src, ""); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if _, err := Transfer(t.Context(), dst, src, TransferOptions{Merge: true}); err != nil {
					t.Errorf("a second copy: %v", err)
				}
				set(t, src, "priv/a", "another", "priv/new", "n")
				before := dump(t, dst, "")
				if _, err := Transfer(t.Context(), dst, src, TransferOptions{Merge: true}); !errors.Is(err, ErrChanged) {
					t.Errorf("conflict: %v, want ErrChanged", err)
				}
				if dump(t, dst, "") != before {
					t.Error("a conflict copied something")
				}
			})
		}
	}
}
