package handover

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcrypt/internal/teststore"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/mdbox"
)

// A vector is a store that real Dovecot has written, with what it said of it.
type vector struct {
	Case, Driver string
	Damaged      bool
	Users        []struct {
		Name, Home string
		Mailboxes  []vectorBox
	}
}

type vectorBox struct {
	Name          string
	GUID          string
	UIDValidity   uint32
	UIDNext       uint32
	HighestModSeq uint64
	Subscribed    bool
	Messages      []struct {
		UID      uint32
		Flags    []string
		Keywords []string
		Received int64 `json:"received_unix"`
		Saved    int64 `json:"saved_unix"`
		Size     int64
		GUID     string
		File     string
		Offset   int64
		Length   int64
	}
}

func eachVector(t *testing.T, fn func(t *testing.T, v vector, archive string)) {
	archives, err := filepath.Glob("../../testdata/vectors/*dbox*/store.tar.gz")
	if err != nil || len(archives) < 5 {
		t.Fatal("no recorded stores", err)
	}
	for _, archive := range archives {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(archive), "case.json"))
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		t.Run(v.Case, func(t *testing.T) { fn(t, v, archive) })
	}
}

// openStore opens a store of ours until the test ends.
func openStore(t testing.TB, l mdbox.Location) *mdbox.Hierarchy {
	t.Helper()
	h, err := mdbox.Open(t.Context(), l, mdbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// storedOf reads a message's stored bytes.
func storedOf(ctx context.Context, b storage.Backend, uid mailbox.UID) ([]byte, error) {
	f, err := b.Open(ctx, uid)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
}

// checkVector compares a store of ours with what Dovecot said of the vector. dir has the
// original.
func checkVector(t *testing.T, l mdbox.Location, v vector, boxes []vectorBox, dir string) (messages int) {
	h := openStore(t, l)
	defer h.Close()
	subscribed, err := h.Subscriptions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range boxes {
		m, err := h.OpenMailbox(t.Context(), want.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		view, err := m.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.GUID().String() != want.GUID && want.GUID != "" || !v.Damaged &&
			(view.UIDValidity != want.UIDValidity || uint32(view.UIDNext) != want.UIDNext || want.HighestModSeq != 0 && uint64(view.HighestModSeq) != want.HighestModSeq) {
			t.Errorf("%s: %s %d %d %d, want %+v", want.Name, m.GUID(), view.UIDValidity, view.UIDNext, view.HighestModSeq, want)
		}
		if slices.Contains(subscribed, want.Name) != want.Subscribed && !v.Damaged {
			t.Errorf("%s: subscribed to %q", want.Name, subscribed)
		}
		if view.Len() != len(want.Messages) {
			t.Errorf("%s: %d messages, want %d", want.Name, view.Len(), len(want.Messages))
			continue
		}
		for i, msg := range view.All() {
			w := want.Messages[i]
			messages++
			msg.Flags.System &^= mailbox.Recent
			flags := mailbox.ParseFlags(append(slices.Clone(w.Flags), w.Keywords...))
			if uint32(msg.UID) != w.UID || !v.Damaged && (!msg.Flags.Equal(flags) || w.GUID != "" && msg.GUID != w.GUID || msg.Sizes.Virtual != w.Size) {
				t.Errorf("%s: %+v, want %+v", want.Name, msg, w)
			}
			stat, err := m.Stat(t.Context(), msg.UID)
			// When a message of an sdbox was saved only the file's ctime says, unless a cache does.
			saved := stat.Saved.Unix() == w.Saved || v.Driver == "sdbox" && time.Since(stat.Saved) < time.Hour
			if err != nil || !v.Damaged && (stat.Received.Unix() != w.Received || !saved) {
				t.Errorf("%s %d: %v %v, want %d, %d", want.Name, msg.UID, stat, err, w.Received, w.Saved)
			}
			got, err := storedOf(t.Context(), m, msg.UID)
			raw, rerr := os.ReadFile(filepath.Join(dir, w.File))
			if err != nil || rerr != nil {
				t.Errorf("%s %d: %v %v", want.Name, msg.UID, err, rerr)
				continue
			}
			if string(got) != string(raw[w.Offset:w.Offset+w.Length]) {
				t.Errorf("%s %d: other bytes than Dovecot has stored", want.Name, msg.UID)
			}
		}
		m.Close()
	}
	return messages
}

// TestVectors: stores that Dovecot has written, taken over at their places and into others,
// have all that Dovecot said of them.
func TestVectors(t *testing.T) {
	inMemory(t)
	eachVector(t, func(t *testing.T, v vector, archive string) {
		orig := t.TempDir()
		teststore.Unpack(t, archive, orig)
		total := 0
		for _, how := range []string{"in place", "elsewhere", "linked"} {
			dir := t.TempDir()
			teststore.Unpack(t, archive, dir)
			for _, u := range v.Users {
				root := filepath.Join(dir, u.Home, v.Driver)
				l := mdbox.Location{Root: root}
				if how != "in place" {
					l.Root = filepath.Join(dir, u.Home, "new")
				}
				src, err := ParseSource(root, "", l)
				if err != nil || src.Sdbox != (v.Driver == "sdbox") {
					t.Fatal(src, err)
				}
				dry, err := Import(t.Context(), src, l, Options{DryRun: true})
				if err != nil {
					t.Fatal(err)
				}
				r, err := Import(t.Context(), src, l, Options{Link: how == "linked"})
				if err != nil {
					t.Fatal(err)
				}
				if r.Messages() != dry.Messages() || len(r.Damaged)+len(r.Lost)+len(r.Found) > 0 || len(r.Notes) > 0 {
					t.Errorf("%s: %+v, after %+v", how, r, dry)
				}
				total += checkVector(t, l, v, u.Mailboxes, orig)
				if how == "in place" {
					if r.Aside == "" || !there(r.Aside) {
						t.Errorf("nothing was set aside: %+v", r)
					}
					if _, err := Import(t.Context(), src, l, Options{}); err == nil {
						t.Error("a store that is ours was imported again")
					}
				}
			}
		}
		if total == 0 {
			t.Error("no messages")
		}
	})
}
