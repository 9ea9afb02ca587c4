package handover

import (
	"fmt"
	"path/filepath"
	"testing"

	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// BenchmarkRoundTrip hands a store of many messages to Dovecot and takes it back.
func BenchmarkRoundTrip(b *testing.B) {
	for _, n := range []int{2_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := mdbox.Location{Root: filepath.Join(b.TempDir(), "mdbox")}
			fillOurs(b, l, n)
			for b.Loop() {
				if _, err := Export(b.Context(), l, "", Options{}); err != nil {
					b.Fatal(err)
				}
				r, err := Import(b.Context(), Source{Location: l}, l, Options{})
				if err != nil || r.Messages() != n {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// fillOurs saves messages into INBOX of a new store.
func fillOurs(b *testing.B, l mdbox.Location, n int) {
	b.Helper()
	h := openStore(b, l)
	defer h.Close()
	m, err := h.OpenMailbox(b.Context(), "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	var all []mailbox.Pending
	var sizes []mailbox.Sizes
	for i := range n {
		p, err := m.Create(b.Context(), mailbox.SaveInfo{GUID: mailbox.NewGUID().String(), Flags: mailbox.ParseFlags([]string{`\Seen`, "word"})})
		if err != nil {
			b.Fatal(err)
		}
		text := fmt.Appendf(nil, "Subject: %d\n\ntext\n", i)
		if _, err := p.Write(text); err != nil {
			b.Fatal(err)
		}
		all, sizes = append(all, p), append(sizes, mailbox.Sizes{Physical: int64(len(text)), Virtual: int64(len(text)) + 3, Stored: int64(len(text))})
	}
	if _, err := m.CommitAll(b.Context(), all, sizes); err != nil {
		b.Fatal(err)
	}
}
