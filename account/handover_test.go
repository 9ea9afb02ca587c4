package account

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"mailcrypt/storage/mdbox"
)

// TestWithClosedMdbox: while a store is handed over nobody has it open; sessions that are
// ending are waited for, others keep it from being handed over.
func TestWithClosedMdbox(t *testing.T) {
	w := newWorld(t, fileDict, time.Minute)
	alice := mdboxUser("alice")
	l := w.login(t, alice, "pw")
	save(t, open(t, l, "INBOX"), "Subject: before\r\n\r\n\r\n")

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	never := func(MdboxPlace) error { t.Error("called while a session is there"); return nil }
	if err := w.WithClosedMdbox(short, alice, never); !errors.Is(err, ErrStoreOpen) {
		t.Errorf("while a session is there: %v", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		l.Close()
	}()
	called := false
	err := w.WithClosedMdbox(ctx, alice, func(p MdboxPlace) error {
		called = true
		if err := w.deliver(t, alice, "Subject: meanwhile\r\n\r\n\r\n"); !errors.Is(err, ErrTemporary) {
			t.Errorf("a delivery meanwhile: %v", err)
		}
		if err := w.WithClosedMdbox(ctx, alice, never); !errors.Is(err, ErrStoreOpen) {
			t.Errorf("twice at once: %v", err)
		}
		h, err := mdbox.Open(ctx, p.Location, p.Options) // for nobody else has it
		if err != nil {
			return err
		}
		return h.Close()
	})
	if err != nil || !called {
		t.Fatal(called, err)
	}
	if err := w.deliver(t, alice, "Subject: after\r\n\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	l = w.login(t, alice, "pw")
	defer l.Close()
	if got := texts(t, open(t, l, "INBOX")); !slices.Equal(got, []string{"Subject: before\r\n\r\n\r\n", "Subject: after\r\n\r\n\r\n"}) {
		t.Errorf("mail: %q", got)
	}
	if err := w.WithClosedMdbox(ctx, user("bob"), never); !errors.Is(err, ErrNotMdbox) {
		t.Errorf("a Maildir: %v", err)
	}
}
