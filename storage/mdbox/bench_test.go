package mdbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// BenchmarkSave saves messages of 8 KiB, each acknowledged when it is durable.
func BenchmarkSave(b *testing.B) {
	for _, savers := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d at once", savers), func(b *testing.B) {
			in := openBox(b, openStore(b, newLocation(b), Options{}), "INBOX")
			text := "Subject: x\n\n" + strings.Repeat("x", 8<<10)
			b.SetBytes(int64(len(text)))
			b.SetParallelism((savers + 1) / 2)
			if savers == 1 {
				for b.Loop() {
					mustSave(b, in, text)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := trySave(in, text, mailbox.SaveInfo{}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// largeStore has a mailbox of many messages, which nobody wrote a byte for.
func largeStore(b *testing.B, messages int) *Hierarchy {
	h := openStore(b, newLocation(b), Options{})
	in := openBox(b, h, "INBOX")
	err := h.catalog.Update(context.Background(), func(tx *index.CatalogTx) error {
		if err := tx.PutFile(index.CatalogFile{ID: 999}); err != nil {
			return err
		}
		msgs := make([]index.CatalogMessage, messages)
		for i := range msgs {
			id, err := tx.AddMap(index.MapRecord{Place: index.Place{File: 999, Offset: uint32(i), Size: 1}, GUID: mailbox.NewGUID().String()})
			if err != nil {
				return err
			}
			msgs[i] = index.CatalogMessage{MapUID: id, Record: index.Record{Physical: 10, Virtual: 10}}
		}
		return tx.AddMessages(in.GUID(), msgs)
	})
	if err := errors.Join(err, in.Close()); err != nil {
		b.Fatal(err)
	}
	return h
}

// BenchmarkLarge uses a mailbox of 200,000 messages.
func BenchmarkLarge(b *testing.B) {
	const messages = 200_000
	h := largeStore(b, messages)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			m, err := h.OpenMailbox(context.Background(), "INBOX")
			if err != nil {
				b.Fatal(err)
			}
			if n := m.View().Len(); n < messages {
				b.Fatal(n)
			}
			m.Close()
		}
	})
	b.Run("deliver", func(b *testing.B) {
		for b.Loop() {
			m, err := h.OpenMailbox(context.Background(), "INBOX")
			if err != nil {
				b.Fatal(err)
			}
			mustSave(b, m, "Subject: x\n\n")
			m.Close()
		}
	})
	b.Run("totals", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Totals(context.Background(), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	in := openBox(b, h, "INBOX")
	in.View()
	b.Run("flag and modseq", func(b *testing.B) {
		on := mailbox.FlagOp(0)
		for b.Loop() {
			on = 1 - on
			_, err := in.SetFlags(context.Background(), []mailbox.UID{100}, mailbox.FlagChange{Op: on, Flags: mailbox.Flags{System: mailbox.Seen}})
			if err := errors.Join(err, in.SyncModSeqs(context.Background())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copy 1000", func(b *testing.B) {
		for b.Loop() {
			var uids []mailbox.UID
			var infos []mailbox.SaveInfo
			for uid := mailbox.UID(1); uid <= 1000; uid++ {
				uids, infos = append(uids, uid), append(infos, mailbox.SaveInfo{GUID: in.View().Get(uid).GUID})
			}
			if _, err := in.LinkAll(context.Background(), in, uids, infos); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFlags changes a flag of all messages of a mailbox of 10,000 by one call.
func BenchmarkFlags(b *testing.B) {
	const messages = 10_000
	h := largeStore(b, messages)
	m, err := h.OpenMailbox(context.Background(), "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	var all []mailbox.UID
	for _, msg := range m.View().All() {
		all = append(all, msg.UID)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		change := mailbox.FlagChange{Op: mailbox.FlagOp(i % 2), Flags: mailbox.Flags{System: mailbox.Flagged}}
		if _, err := m.SetFlags(context.Background(), all, change); err != nil {
			b.Fatal(err)
		}
	}
}
