package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

// A keyring has private keys by both their IDs.
type keyring map[dcrypt.KeyID]*dcrypt.PrivateKey

func (k keyring) add(keys ...*dcrypt.PrivateKey) keyring {
	for _, key := range keys {
		k[key.ID()] = key
		if old, ok := key.OldID(); ok {
			k[old] = key
		}
	}
	return k
}

func (k keyring) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	if key := k[id]; key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("key %s: %w", id, dcrypt.ErrNoKey)
}

func newKey(t testing.TB) *dcrypt.PrivateKey {
	t.Helper()
	key, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newInbox(t testing.TB) storage.Backend {
	t.Helper()
	b, err := storagetest.NewMemory('/').Open(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put saves stored bytes as they are.
func put(t testing.TB, b storage.Backend, stored []byte, s mailbox.Sizes) mailbox.UID {
	t.Helper()
	p, err := b.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(stored); err != nil {
		t.Fatal(err)
	}
	uid, err := p.Commit(s)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// stored returns a message's stored bytes.
func stored(t testing.TB, b storage.Backend, uid mailbox.UID) []byte {
	t.Helper()
	st, err := b.Open(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	text, err := io.ReadAll(io.NewSectionReader(st, 0, st.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// save appends a message in one Write.
func save(t testing.TB, s *storage.Store, text []byte, to *dcrypt.PublicKey, o storage.Options) mailbox.UID {
	t.Helper()
	uid, err := trySave(t, s, text, to, o)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func trySave(t testing.TB, s *storage.Store, text []byte, to *dcrypt.PublicKey, o storage.Options) (mailbox.UID, error) {
	t.Helper()
	a, err := s.Append(t.Context(), mailbox.SaveInfo{NeedUID: true}, to, o)
	if err != nil {
		return 0, err
	}
	if _, err := a.Write(text); err != nil {
		return 0, errors.Join(err, a.Abort())
	}
	return a.Commit()
}

// transform returns what a message is stored as.
func transform(t testing.TB, text []byte, to *dcrypt.PublicKey, o storage.Options) []byte {
	t.Helper()
	b := newInbox(t)
	return stored(t, b, save(t, storage.New(b), text, to, o))
}

func read(t testing.TB, s *storage.Store, uid mailbox.UID, keys dcrypt.KeyFinder) ([]byte, error) {
	t.Helper()
	m, err := s.Open(t.Context(), uid, keys)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err == nil && int64(len(text)) != m.Size() {
		t.Errorf("uid %d: %d bytes, Size says %d", uid, len(text), m.Size())
	}
	return text, err
}

func wantKind(t testing.TB, err error, want storage.Kind, what string) {
	t.Helper()
	var r *storage.ReadError
	if !errors.As(err, &r) || r.Kind != want {
		t.Errorf("%s: %v, want a ReadError of kind %q", what, err, want)
		return
	}
	if r.Reason() == "" || strings.ContainsAny(r.Reason(), "\r\n\x00") {
		t.Errorf("%s: Reason is %q", what, r.Reason())
	}
}

// mail makes a message of about n bytes with CRLF.
func mail(n int) []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.org\r\nSubject: test\r\n\r\n")
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for b.Len() < n {
		fmt.Fprintf(&b, "line %d %x\r\n", b.Len(), r.Uint64())
		if r.IntN(50) == 0 {
			b.WriteString("odd\r\r\n\r\r\n\n")
		}
	}
	return b.Bytes()
}

// asRead is what comes back of a saved text: one CR before each LF goes, and the one at
// the end, and one comes before each LF that has none.
func asRead(text []byte) []byte {
	s := strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\r")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
}

var methods = []compress.Method{compress.None, compress.Gzip, compress.Bzip2, compress.LZ4, compress.Zstd}
