package maildir

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// bigMaildir is a mailbox of n messages that nobody has looked at.
func bigMaildir(b *testing.B, n int) Location {
	b.Helper()
	l := newLocation(b)
	for _, sub := range subdirs {
		if err := os.MkdirAll(filepath.Join(l.Root, sub), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("%d.M%dP123.mail.example.net,S=%d,W=%d:2,S", 1_600_000_000+i, i%1_000_000, i, i+20)
		if err := os.WriteFile(filepath.Join(l.Root, "cur", name), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	past := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(l.Root, "cur"), past, past)
	return l
}

func BenchmarkSync(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		l := bigMaildir(b, n)
		b.Run(fmt.Sprintf("%d/first", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				for _, name := range []string{uidlistName, "mailcryptd.index.db"} {
					os.Remove(filepath.Join(l.Root, name))
				}
				b.StartTimer()
				reopen(b, l, n)
			}
		})
		b.Run(fmt.Sprintf("%d/reopen", n), func(b *testing.B) {
			for b.Loop() {
				reopen(b, l, n)
			}
		})
		h := openTree(b, l, Options{})
		m := openBox(b, h, "INBOX")
		m.View()
		b.Run(fmt.Sprintf("%d/nothing", n), func(b *testing.B) {
			for b.Loop() {
				resyncBench(b, m)
			}
		})
		b.Run(fmt.Sprintf("%d/scan", n), func(b *testing.B) {
			for b.Loop() {
				now := time.Now().Add(-time.Minute)
				os.Chtimes(filepath.Join(l.Root, "cur"), now, now)
				resyncBench(b, m)
			}
		})
		b.Run(fmt.Sprintf("%d/flag one", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				op := mailbox.FlagOp(i % 2)
				if err := setFlags(b.Context(), m, []mailbox.UID{77}, mailbox.FlagChange{Op: op, Flags: flags(`\Flagged`)}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("%d/flag all", n), func(b *testing.B) {
			var all []mailbox.UID
			for _, msg := range m.View().All() {
				all = append(all, msg.UID)
			}
			i := 0
			for b.Loop() {
				op := mailbox.FlagOp(i % 2)
				if err := setFlags(b.Context(), m, all, mailbox.FlagChange{Op: op, Flags: flags(`\Deleted`)}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("%d/append", n), func(b *testing.B) { benchAppend(b, m, mailbox.SaveInfo{NeedUID: true}) })
		m.Close()
		h.Close()
	}
}

func reopen(b *testing.B, l Location, n int) {
	h, err := Open(l, Options{})
	if err != nil {
		b.Fatal(err)
	}
	m, err := h.OpenMailbox(b.Context(), "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	if v, err := m.Sync(b.Context()); err != nil || v.Len() < n {
		b.Fatalf("%d messages, %v", v.Len(), err)
	}
	m.Close()
	h.Close()
}

func resyncBench(b *testing.B, m *Mailbox) {
	if _, err := m.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
}

var message4k = strings.Repeat("0123456789abcde\n", 256)

func benchAppend(b *testing.B, m *Mailbox, info mailbox.SaveInfo) {
	b.SetBytes(int64(len(message4k)))
	for b.Loop() {
		p, err := m.Create(b.Context(), info)
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(p, message4k)
		if _, err := p.Commit(mailbox.Sizes{Physical: 4096, Virtual: 4352}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	for name, info := range map[string]mailbox.SaveInfo{
		"deliver": {}, "append": {NeedUID: true}, "append keywords": {NeedUID: true, Flags: mailbox.Flags{Keywords: []string{"k"}}},
	} {
		b.Run(name, func(b *testing.B) { benchAppend(b, newInbox(b), info) })
		b.Run(name+"/4 at once", func(b *testing.B) {
			m := newInbox(b)
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := trySave(m, message4k, info); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkFlagSync is a STORE by a client that is told modseqs.
func BenchmarkFlagSync(b *testing.B) {
	for name, sessions := range map[string]int{"one session": 1, "4 sessions": 4} {
		b.Run(name, func(b *testing.B) {
			l := bigMaildir(b, 1000)
			m := openBox(b, openTree(b, l, Options{}), "INBOX")
			m.View()
			var next atomic.Uint32
			b.SetParallelism((sessions + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := next.Add(1)
					op := mailbox.FlagOp(n / 1000 % 2)
					err := setFlags(context.Background(), m, []mailbox.UID{mailbox.UID(n%1000 + 1)}, mailbox.FlagChange{Op: op, Flags: flags(`\Flagged`)})
					if err == nil {
						err = m.SyncModSeqs(context.Background())
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
