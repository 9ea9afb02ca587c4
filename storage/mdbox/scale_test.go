package mdbox

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// BenchmarkScale shows what work on a mailbox costs as it grows: 1,000 messages to 16,000, or as
// many as SCALE says.
//
//	SCALE=200000 go test ./storage/mdbox -run '^$' -bench Scale -benchtime 1x
func BenchmarkScale(b *testing.B) {
	sizes := []int{1000, 4000, 16000}
	if s := os.Getenv("SCALE"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatalf("SCALE=%s is no number", s)
		}
		sizes = []int{1000, n / 10, n}
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				scale(b, n)
			}
		})
	}
}

// scale reports the times of one life of a mailbox of n messages.
func scale(b *testing.B, n int) {
	ctx := context.Background()
	l := newLocation(b)
	h := openStore(b, l, Options{})
	m := openBox(b, h, "INBOX")
	measure := func(what string, per int, fn func()) {
		start := time.Now()
		fn()
		b.ReportMetric(float64(time.Since(start).Microseconds())/float64(per), what)
	}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	text := strings.Repeat("a line of mail\n", 64)
	fill(b, m, text, n)
	must(m.Close())
	must(h.Close())

	h = openStore(b, l, Options{})
	m = openBox(b, h, "INBOX")
	measure("deliver-µs", 20, func() {
		for range 20 {
			mustSave(b, m, text)
		}
	})
	measure("select-µs", 1, func() {
		if v := m.View(); v.Len() != n+20 {
			b.Fatalf("%d messages", v.Len())
		}
	})
	measure("flags-of-100-µs", 1, func() {
		_, err := m.SetFlags(ctx, uidRange(n/2, 100), mailbox.FlagChange{Op: mailbox.AddFlags, Flags: mailbox.Flags{System: mailbox.Seen}})
		must(err)
		must(m.SyncModSeqs(ctx))
	})
	measure("expunge-of-100-µs", 1, func() { must(m.Expunge(ctx, uidRange(n/4, 100))) })
	measure("purge-of-100-µs", 1, func() {
		_, err := h.Purge(ctx)
		must(err)
	})
	measure("expunge-half-µs/msg", n/2, func() { must(m.Expunge(ctx, uidRange(1, n/2))) })
	measure("purge-half-µs/msg", n/2, func() {
		_, err := h.Purge(ctx)
		must(err)
	})
	must(m.Close())
	must(h.Close())
}

// fill saves n messages, a thousand at a time.
func fill(b *testing.B, m *Mailbox, text string, n int) {
	for n > 0 {
		k := min(n, 1000)
		n -= k
		pending, sizes := make([]mailbox.Pending, k), make([]mailbox.Sizes, k)
		for i := range k {
			p, err := m.Create(context.Background(), mailbox.SaveInfo{})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Write([]byte(text)); err != nil {
				b.Fatal(err)
			}
			pending[i], sizes[i] = p, sizesOf(text)
		}
		if _, err := m.CommitAll(context.Background(), pending, sizes); err != nil {
			b.Fatal(err)
		}
	}
}

// uidRange are n UIDs from first.
func uidRange(first, n int) []mailbox.UID {
	list := make([]mailbox.UID, n)
	for i := range list {
		list[i] = mailbox.UID(first + i)
	}
	return list
}
