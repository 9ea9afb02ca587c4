package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

func wantTotals(t testing.TB, h *Hierarchy, messages, bytes int64) {
	t.Helper()
	got, err := h.Totals(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (storage.Totals{Messages: messages, Bytes: bytes}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
}

// drop puts a file into a folder as another program does.
func drop(t testing.TB, l Location, folder, name, text string) {
	t.Helper()
	put(t, filepath.Join(l.Root, folder, name), text)
}

// What is counted is the same whether mailboxes are open or not, and whoever changed them.
func TestTotals(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("open %v", open), func(t *testing.T) {
			l := newLocation(t)
			h := openTree(t, l, Options{Separator: '/'})
			wantTotals(t, h, 0, 0) // not even INBOX is there
			in, a := openBox(t, h, "INBOX"), openBox(t, h, "A/B")
			if !open {
				in.Close()
				a.Close()
			}
			again := func(name string) *Mailbox {
				if open {
					return map[string]*Mailbox{"INBOX": in, "A/B": a}[name]
				}
				m, err := h.OpenMailbox(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { m.Close() })
				return m
			}
			wantTotals(t, h, 0, 0)
			drop(t, l, "cur", "1.a,S=10,W=12:2,S", "x")
			drop(t, l, "new", "2.a,S=10,W=11", "x")
			drop(t, l, ".A.B/cur", "3.a,S=100:2,", "x") // no W=
			drop(t, l, ".A.B/cur", "4.a,W=7,S=3:2,", "x")
			wantTotals(t, h, 4, 12+11+100+7)
			uid := save(t, again("A/B"), "a\nb\n", mailbox.SaveInfo{})
			if _, err := trySave(again("INBOX"), "c\n", mailbox.SaveInfo{}); err != nil {
				t.Fatal(err)
			}
			wantTotals(t, h, 6, 130+6+3)
			if _, err := again("A/B").SetFlags(t.Context(), []mailbox.UID{uid}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: flags(`\Deleted`)}); err != nil {
				t.Fatal(err)
			}
			wantTotals(t, h, 6, 139)
			if err := again("A/B").Expunge(t.Context(), []mailbox.UID{uid}); err != nil {
				t.Fatal(err)
			}
			wantTotals(t, h, 5, 133)
			mustRename(t, filepath.Join(l.Root, "cur/1.a,S=10,W=12:2,S"), filepath.Join(l.Root, ".A.B/cur/1.a,S=10,W=12:2,S"))
			wantTotals(t, h, 5, 133)
			mustRemove(t, filepath.Join(l.Root, ".A.B/cur/1.a,S=10,W=12:2,S"))
			wantTotals(t, h, 4, 121)
			got, err := h.Totals(t.Context(), func(name string) bool { return name == "A/B" })
			if err != nil || got.Messages != 2 || got.Bytes != 14 {
				t.Errorf("without A/B: %+v, %v", got, err)
			}
			if err := h.Delete(t.Context(), "A/B"); err != nil {
				t.Fatal(err)
			}
			wantTotals(t, h, 2, 14)
			if len(h.tallies) != 1 {
				t.Errorf("%d tallies are kept", len(h.tallies))
			}
		})
	}
}

// A size that no name tells is that of the uidlist or of the index, or what the file takes.
func TestTotalsUnsized(t *testing.T) {
	inMemory(t)
	l := newLocation(t)
	h := openTree(t, l, Options{Separator: '/'})
	openBox(t, h, "A").Close()
	drop(t, l, ".A/cur", "1.plain:2,", strings.Repeat("x", 50))
	drop(t, l, ".A/cur", "2.bad,S=,W=x:2,", strings.Repeat("x", 7))
	drop(t, l, ".A/cur", "3.good,S=1,W=2:2,", strings.Repeat("x", 9))
	wantTotals(t, h, 3, 50+7+2)
	m, err := h.OpenMailbox(t.Context(), "A")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RecordSizes(t.Context(), 1, mailbox.Sizes{Physical: 40, Virtual: 45}); err != nil {
		t.Fatal(err)
	}
	wantTotals(t, h, 3, 45+7+2)
	m.Close()
	drop(t, l, ".A/cur", "4.plain:2,", "xyz")
	wantTotals(t, h, 4, 45+7+2+3)
	mustRemove(t, filepath.Join(l.Root, ".A/cur/2.bad,S=,W=x:2,"))
	wantTotals(t, h, 3, 45+2+3)

	// Renamed, deleted and made anew while it is held.
	if err := h.Rename(t.Context(), "A", "B"); err != nil {
		t.Fatal(err)
	}
	openBox(t, h, "A").Close()
	wantTotals(t, h, 3, 50)
	if err := h.Delete(t.Context(), "B"); err != nil {
		t.Fatal(err)
	}
	openBox(t, h, "B").Close()
	drop(t, l, ".B/cur", "1.plain:2,", "12345")
	wantTotals(t, h, 1, 5)
	if err := h.Delete(t.Context(), "B"); err != nil {
		t.Fatal(err)
	}
	wantTotals(t, h, 0, 0)
	h.mu.Lock()
	for key := range h.boxes {
		t.Errorf("%s is still open", key)
	}
	h.mu.Unlock()
	openBox(t, h, "INBOX").Close()
	drop(t, l, "cur", "9.huge,S=9223372036854775807,W=9223372036854775807:2,", "")
	drop(t, l, "cur", "8.huge,S=9223372036854775807,W=9223372036854775807:2,", "")
	wantTotals(t, h, 2, 2*maxCounted)
}

// Whatever happens meanwhile, the sum is right when it has ended.
func TestTotalsConcurrent(t *testing.T) {
	inMemory(t)
	l := newLocation(t)
	h := openTree(t, l, Options{Separator: '/'})
	openBox(t, h, "A").Close()
	openBox(t, h, "INBOX").Close()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				m, err := h.OpenMailbox(t.Context(), []string{"A", "INBOX"}[n%2])
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := trySave(m, "x\n", mailbox.SaveInfo{NeedUID: i%2 == 0}); err != nil {
					t.Error(err)
				}
				if n%5 == 0 {
					drop(t, l, ".A/new", fmt.Sprintf("%d.plain%d", n, i), "12345")
				}
				m.Close()
			}
		})
		wg.Go(func() {
			for range 20 {
				if _, err := h.Totals(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			name := fmt.Sprintf("T%d", i)
			for range 5 {
				if err := h.Create(t.Context(), name); err != nil {
					t.Error(err)
				}
				drop(t, l, "."+name+"/cur", "1.plain:2,", "12345")
				if err := h.Delete(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantTotals(t, h, 4*20+4*4, 4*20*3+4*4*5)
}

func BenchmarkTotals(b *testing.B) {
	const n = 100_000
	l := bigMaildir(b, n)
	totals := func(b *testing.B, h *Hierarchy) {
		if got, err := h.Totals(b.Context(), nil); err != nil || got.Messages < n {
			b.Fatal(got, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			h := openTree(b, l, Options{})
			totals(b, h)
		}
	})
	h := openTree(b, l, Options{})
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			totals(b, h)
		}
	})
	b.Run("delivery", func(b *testing.B) {
		for b.Loop() {
			m := openBox(b, h, "INBOX")
			if _, err := trySave(m, "x\n", mailbox.SaveInfo{}); err != nil {
				b.Fatal(err)
			}
			m.Close()
			totals(b, h)
		}
	})
	b.Run("changed cur", func(b *testing.B) {
		for b.Loop() {
			now := time.Now().Add(-time.Minute)
			os.Chtimes(filepath.Join(l.Root, "cur"), now, now)
			totals(b, h)
		}
	})
	m := openBox(b, h, "INBOX")
	m.View()
	b.Run("open/first", func(b *testing.B) {
		for b.Loop() {
			h.tallies = map[string]*tally{}
			totals(b, h)
		}
	})
	b.Run("open/append", func(b *testing.B) {
		for b.Loop() {
			if _, err := trySave(m, "x\n", mailbox.SaveInfo{NeedUID: true}); err != nil {
				b.Fatal(err)
			}
			totals(b, h)
		}
	})
	b.Run("open/nothing", func(b *testing.B) {
		for b.Loop() {
			totals(b, h)
		}
	})
}
