// Package storagetest has what tests of mail stores need: a conformance suite for
// every implementation of storage.Hierarchy and storage.Backend, one of them in
// memory, a wrapper that fails on demand, and a canary that finds plaintext in files.
//
// A new backend is one that passes Run:
//
//	func TestConformance(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storagetest.Factory {
//			root := t.TempDir()
//			return storagetest.Factory{Root: root, Open: func() (storage.Hierarchy, error) {
//				return maildir.Open(root, maildir.Options{})
//			}}
//		})
//	}
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A Factory is one fresh, empty store of the kind to be tested.
type Factory struct {
	// Open opens the hierarchy; after its Close it is called again for the same store.
	Open func() (storage.Hierarchy, error)
	// Root is the directory that everything is stored under; "" where there is none,
	// and then the checks that look at files are left out.
	Root string
}

// Run tests that a store keeps the contracts of package storage. newFactory is called
// for each part, each of which is a parallel subtest. Run it with -race.
func Run(t *testing.T, newFactory func(t *testing.T) Factory) {
	for _, part := range []struct {
		name string
		run  func(*suite)
	}{
		{"SaveAndRead", (*suite).saveAndRead},
		{"SaveInfo", (*suite).saveInfo},
		{"EmptyMessage", (*suite).emptyMessage},
		{"LargeMessage", (*suite).largeMessage},
		{"WithoutNeedUID", (*suite).withoutNeedUID},
		{"Abort", (*suite).abort},
		{"Group", (*suite).group},
		{"GroupRefused", (*suite).groupRefused},
		{"Flags", (*suite).flags},
		{"ConditionalFlags", (*suite).condstore},
		{"Keywords", (*suite).keywords},
		{"ModSeq", (*suite).modSeq},
		{"Expunge", (*suite).expunge},
		{"UIDsAreNeverReused", (*suite).uidsNeverReused},
		{"Reopen", (*suite).reopen},
		{"OpenWhileExpunged", (*suite).openWhileExpunged},
		{"ViewsDoNotChange", (*suite).viewsDoNotChange},
		{"Changed", (*suite).changed},
		{"Recent", (*suite).recent},
		{"RecordSizes", (*suite).recordSizes},
		{"Cancelled", (*suite).cancelled},
		{"Link", (*suite).link},
		{"Canary", (*suite).canary},
		{"CreateDelete", (*suite).createDelete},
		{"Rename", (*suite).rename},
		{"Names", (*suite).names},
		{"RefusedNames", (*suite).refusedNames},
		{"Levels", (*suite).levels},
		{"WatchNames", (*suite).watchNames},
		{"Subscriptions", (*suite).subscriptions},
		{"GUIDs", (*suite).guids},
		{"Model", (*suite).model},
		{"Concurrency", (*suite).concurrency},
		{"ConcurrentFolders", (*suite).concurrentFolders},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{TB: t, ctx: t.Context(), factory: newFactory(t)}
			s.start()
			t.Cleanup(func() {
				if s.h != nil { // the part was skipped or has failed
					for _, b := range s.open {
						_ = b.Close()
					}
					_ = s.h.Close()
				}
			})
			part.run(s)
			s.stop()
		})
	}
}

// A suite is one part's use of a store.
type suite struct {
	testing.TB
	ctx     context.Context
	factory Factory
	h       storage.Hierarchy
	open    []storage.Backend
}

func (s *suite) start() {
	s.Helper()
	h, err := s.factory.Open()
	if err != nil {
		s.Fatalf("opening the store: %v", err)
	}
	s.h = h
}

func (s *suite) stop() {
	s.Helper()
	for _, b := range s.open {
		s.must(b.Close(), "Backend.Close")
	}
	s.open = nil
	h := s.h
	s.h = nil
	s.must(h.Close(), "Hierarchy.Close")
}

func (s *suite) restart() {
	s.Helper()
	s.stop()
	s.start()
}

func (s *suite) must(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *suite) wantErr(err, want error, what string) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want an error wrapping %q", what, err, want)
	}
}

// box opens a mailbox; stop closes it.
func (s *suite) box(name string) storage.Backend {
	s.Helper()
	b, err := s.h.Open(s.ctx, name)
	s.must(err, "opening "+name)
	s.open = append(s.open, b)
	return b
}

func (s *suite) inbox() storage.Backend { s.Helper(); return s.box(mailbox.Inbox) }

func (s *suite) sync(b storage.Backend) *mailbox.View {
	s.Helper()
	v, err := b.Sync(s.ctx)
	s.must(err, "Sync")
	if v.Len() > 0 && v.UIDNext <= v.At(v.Len()-1).UID {
		s.Errorf("UIDNEXT %d with a message of UID %d", v.UIDNext, v.At(v.Len()-1).UID)
	}
	return v
}

// sizesOf are the sizes of bytes that are saved as they are.
func sizesOf(text []byte) mailbox.Sizes {
	n := int64(len(text))
	bare := int64(bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte("\r\n")))
	return mailbox.Sizes{Physical: n, Virtual: n + bare, Stored: n}
}

// save saves text and returns its UID.
func (s *suite) save(b storage.Backend, text []byte, info mailbox.SaveInfo) mailbox.UID {
	s.Helper()
	info.NeedUID = true
	uid, err := save(s.ctx, b, text, info)
	s.must(err, "saving")
	if uid == 0 {
		s.Fatal("Commit gave no UID though NeedUID was set")
	}
	return uid
}

func save(ctx context.Context, b storage.Backend, text []byte, info mailbox.SaveInfo) (mailbox.UID, error) {
	p, err := b.Create(ctx, info)
	if err != nil {
		return 0, err
	}
	for rest := text; len(rest) > 0; {
		n := min(len(rest), 40<<10)
		if _, err := p.Write(rest[:n]); err != nil {
			return 0, errors.Join(err, p.Abort())
		}
		rest = rest[n:]
	}
	uid, err := p.Commit(sizesOf(text))
	if err != nil {
		return 0, errors.Join(err, p.Abort())
	}
	return uid, nil
}

// read returns a message's bytes.
func (s *suite) read(b storage.Backend, uid mailbox.UID) []byte {
	s.Helper()
	text, err := read(s.ctx, b, uid)
	s.must(err, "reading")
	return text
}

func read(ctx context.Context, b storage.Backend, uid mailbox.UID) ([]byte, error) {
	st, err := b.Open(ctx, uid)
	if err != nil {
		return nil, err
	}
	text, err := readStored(st)
	return text, errors.Join(err, st.Close())
}

func readStored(st mailbox.Stored) ([]byte, error) {
	text := make([]byte, st.Size())
	n, err := st.ReadAt(text, 0)
	if err == io.EOF && n == len(text) {
		err = nil
	}
	return text[:n], err
}

func (s *suite) wantText(b storage.Backend, uid mailbox.UID, want []byte) {
	s.Helper()
	if got := s.read(b, uid); !bytes.Equal(got, want) {
		s.Errorf("uid %d: read %d bytes that are not the %d saved", uid, len(got), len(want))
	}
}

func (s *suite) stat(b storage.Backend, uid mailbox.UID) mailbox.Message {
	s.Helper()
	m, err := b.Stat(s.ctx, uid)
	s.must(err, "Stat")
	if m.UID != uid {
		s.Errorf("Stat(%d) is of uid %d", uid, m.UID)
	}
	return m
}

// text is a message of its own for each number.
func text(n int) []byte {
	return []byte("From: a@example.org\nSubject: number " + string(rune('A'+n%26)) + "\n\n" +
		string(bytes.Repeat([]byte{byte('a' + n%26)}, n%5000)) + "\n")
}

func uids(v *mailbox.View) []mailbox.UID {
	all := []mailbox.UID{}
	for _, m := range v.All() {
		all = append(all, m.UID)
	}
	return all
}

func (s *suite) wantUIDs(v *mailbox.View, want ...mailbox.UID) {
	s.Helper()
	if got := uids(v); !slices.Equal(got, want) {
		s.Errorf("UIDs are %v, want %v", got, want)
	}
}

// second is the precision that every store has for dates.
func second(t time.Time) int64 { return t.Unix() }
