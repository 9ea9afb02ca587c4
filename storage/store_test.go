package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

func TestRoundTrip(t *testing.T) {
	key := newKey(t)
	keys := keyring{}.add(key)
	texts := map[string][]byte{
		"empty": nil, "a CR": []byte("\r"), "a line end": []byte("\r\n"), "no line end": []byte("x"),
		"bare LF": []byte("a: b\n\nx\n"), "odd line ends": []byte("a\r\r\nb\rc\n\r\n\r\r\r\nd\r"),
		"14 bytes": []byte("12345678901234"), "15 bytes": []byte("123456789012345"), "16 bytes": []byte("1234567890123456"),
		"small": mail(3000), "70 KB": mail(70_000), "1 MiB": mail(1 << 20)[:1<<20], "3 MiB": mail(3 << 20), "large": mail(4<<20 + 300<<10),
	}
	for _, version := range []int{0, 1, 2} {
		for _, m := range methods {
			for name, text := range texts {
				if m == compress.Bzip2 && len(text) > 100_000 || m != compress.None && name == "3 MiB" {
					continue
				}
				t.Run(fmt.Sprintf("v%d/%s/%s", version, m, name), func(t *testing.T) {
					b := newInbox(t)
					s := storage.New(b)
					uid := appendInSteps(t, s, text, key.Public(), storage.Options{Version: version, Compression: m})
					checkRead(t, s, uid, keys, asRead(text))
					st := stored(t, b, uid)
					if got, want := dcrypt.IsEncrypted(st), version != 0 && len(asRead(text)) > 0; got != want {
						t.Errorf("encrypted: %v, want %v", got, want)
					}
					if len(asRead(text)) == 0 && len(st) != 0 {
						t.Errorf("empty message is stored as %d bytes", len(st))
					}
				})
			}
		}
	}
}

// appendInSteps writes a message in pieces of odd sizes and compares the sizes.
func appendInSteps(t *testing.T, s *storage.Store, text []byte, to *dcrypt.PublicKey, o storage.Options) mailbox.UID {
	t.Helper()
	a, err := s.Append(t.Context(), mailbox.SaveInfo{NeedUID: true}, to, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, rest := 0, text; len(rest) > 0; i++ {
		n := min(len(rest), []int{1, 13, 1, 4096, 65537}[min(i, 4)])
		if k, err := a.Write(rest[:n]); k != n || err != nil {
			t.Fatalf("Write = %d, %v", k, err)
		}
		rest = rest[n:]
	}
	uid, err := a.Commit()
	if err != nil {
		t.Fatal(err)
	}
	got := a.Sizes()
	m, err := s.Backend().Stat(t.Context(), uid)
	if err != nil || m.Sizes != got {
		t.Errorf("Appender counted %+v, the backend has %+v, %v", got, m.Sizes, err)
	}
	if want := int64(len(asRead(text))); got.Virtual != want {
		t.Errorf("virtual size %d, want %d", got.Virtual, want)
	}
	return uid
}

func checkRead(t *testing.T, s *storage.Store, uid mailbox.UID, keys dcrypt.KeyFinder, want []byte) {
	t.Helper()
	m, err := s.Open(t.Context(), uid, keys)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Size() != int64(len(want)) {
		t.Errorf("Size = %d, want %d", m.Size(), len(want))
	}
	was, err := s.Backend().Stat(t.Context(), uid)
	if err != nil || m.Sizes() != was.Sizes {
		t.Errorf("Sizes = %+v, recorded %+v, %v", m.Sizes(), was.Sizes, err)
	}
	got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v, that are not the %d wanted", len(got), err, len(want))
	}
	if len(want) < 100_000 {
		if err := iotest.TestReader(io.NewSectionReader(m, 0, m.Size()), want); err != nil {
			t.Error(err)
		}
	}
	r := rand.New(rand.NewPCG(2, 3))
	for range 6 {
		off := r.Int64N(m.Size() + 1)
		p := make([]byte, r.IntN(5000)+1)
		n, err := m.ReadAt(p, off)
		part := want[off:min(off+int64(len(p)), int64(len(want)))]
		if !bytes.Equal(p[:n], part) || (n < len(p)) != (err == io.EOF) || err != nil && err != io.EOF {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v; want %d bytes", len(p), off, n, err, len(part))
		}
	}
}

func TestAppendNeedsAKey(t *testing.T) {
	b := newInbox(t)
	for version := 1; version <= 2; version++ {
		_, err := storage.New(b).Append(t.Context(), mailbox.SaveInfo{}, nil, storage.Options{Version: version})
		if !errors.Is(err, storage.ErrNoPublicKey) {
			t.Errorf("version %d without a key: %v, want %v", version, err, storage.ErrNoPublicKey)
		}
	}
	for _, version := range []int{-1, 3} {
		_, err := storage.New(b).Append(t.Context(), mailbox.SaveInfo{}, newKey(t).Public(), storage.Options{Version: version})
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("version %d: %v, want %v", version, err, errors.ErrUnsupported)
		}
	}
	if n := b.View().Len(); n != 0 {
		t.Errorf("%d messages were saved", n)
	}
}

func TestLooksTransformed(t *testing.T) {
	key := newKey(t)
	text := "subject: this text is here to be long enough\r\n"
	const crypted, gz, lz4 = "CRYPTED\x03\x07", "\x1f\x8b", "Dovecot-LZ4\r\x2a\x9b\xc5"
	for _, tt := range []struct {
		name    string
		begin   string
		method  compress.Method
		version int
		refused bool
	}{
		{"encryption's magic, plaintext", crypted, "", 0, true},
		{"encryption's magic, compressed", crypted, "gz", 0, true},
		{"encryption's magic, encrypted", crypted, "", 2, false},
		{"encryption's magic, both", crypted, "gz", 2, false},
		{"gz, plaintext", gz, "", 0, true},
		{"gz, compressed", gz, "lz4", 0, false},
		{"gz, encrypted", gz, "", 2, true},
		{"gz, both", gz, "gz", 2, false},
		{"lz4, plaintext", lz4, "", 0, true},
		{"lz4 without its last byte", lz4[:14] + "x", "", 0, false},
		{"bz2", "BZh5", "", 0, true},
		{"bz2 without a level", "BZh0", "", 0, false},
		{"zstd", "\x28\xb5\x2f\xfd", "", 0, true},
		{"xz", "\xfd7zXZ\x00", "", 0, true},
		{"8 bytes of encryption's magic", crypted[:8], "", 0, false},
	} {
		for _, more := range []string{"", text} {
			for _, step := range []int{1, 5, 100} {
				b := newInbox(t)
				wrote := 0
				s := storage.New(&storagetest.Faulty{Backend: b, Fail: func(op storagetest.Op) error {
					if op == storagetest.OpWrite {
						wrote++
					}
					return nil
				}})
				in := []byte(tt.begin + more)
				a, err := s.Append(t.Context(), mailbox.SaveInfo{NeedUID: true}, key.Public(), storage.Options{Compression: tt.method, Version: tt.version})
				if err != nil {
					t.Fatal(err)
				}
				for rest := in; len(rest) > 0 && err == nil; {
					n := min(step, len(rest))
					_, err = a.Write(rest[:n])
					rest = rest[n:]
				}
				uid, commitErr := a.Commit()
				switch {
				case tt.refused:
					if !errors.Is(commitErr, mailbox.ErrLooksTransformed) || err != nil && !errors.Is(err, mailbox.ErrLooksTransformed) {
						t.Errorf("%s: Write %v, Commit %v; want %v", tt.name, err, commitErr, mailbox.ErrLooksTransformed)
					}
					if b.View().Len() != 0 || wrote != 0 {
						t.Errorf("%s: refused after %d writes, %d messages are there", tt.name, wrote, b.View().Len())
					}
				case commitErr != nil:
					t.Errorf("%s: %v", tt.name, commitErr)
				default:
					got, err := read(t, s, uid, keyring{}.add(key))
					if err != nil || !bytes.Equal(got, asRead(in)) {
						t.Errorf("%s: read back %q, %v", tt.name, got, err)
					}
				}
			}
		}
	}
}

func TestMaxSize(t *testing.T) {
	text := []byte("a: b\n\n" + strings.Repeat("x\n", 100)) // 206 with LF, 308 with CRLF
	for _, tt := range []struct {
		max int64
		err error
	}{{0, nil}, {308, nil}, {307, mailbox.ErrTooLarge}, {1, mailbox.ErrTooLarge}} {
		b := newInbox(t)
		_, err := trySave(t, storage.New(b), text, nil, storage.Options{MaxSize: tt.max})
		if !errors.Is(err, tt.err) || (err == nil) != (b.View().Len() == 1) {
			t.Errorf("limit %d: %v, %d messages; want %v", tt.max, err, b.View().Len(), tt.err)
		}
	}
	// A client that goes on writing does not fill the disk.
	b := newInbox(t)
	a, err := storage.New(b).Append(t.Context(), mailbox.SaveInfo{}, nil, storage.Options{MaxSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		a.Write(bytes.Repeat([]byte("x"), 1000))
	}
	if got := a.Sizes().Stored; got > 2000 {
		t.Errorf("%d bytes were stored under a limit of 1000", got)
	}
	if _, err := a.Commit(); !errors.Is(err, mailbox.ErrTooLarge) || b.View().Len() != 0 {
		t.Errorf("Commit = %v, %d messages", err, b.View().Len())
	}
}

func TestAppenderEnds(t *testing.T) {
	b := newInbox(t)
	s := storage.New(b)
	key := newKey(t)
	for _, o := range []storage.Options{{}, {Version: 2, Compression: compress.Zstd}} {
		a, err := s.Append(t.Context(), mailbox.SaveInfo{}, key.Public(), o)
		if err != nil {
			t.Fatal(err)
		}
		a.Write([]byte("text that is gone"))
		if err := errors.Join(a.Abort(), a.Abort()); err != nil {
			t.Errorf("Abort: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Write after Abort: %v", err)
		}
		if _, err := a.Commit(); !errors.Is(err, storage.ErrClosed) || b.View().Len() != 0 {
			t.Errorf("Commit after Abort: %v, %d messages", err, b.View().Len())
		}
	}
	a, err := s.Append(t.Context(), mailbox.SaveInfo{}, nil, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := a.Abort(); err != nil || b.View().Len() != 1 {
		t.Errorf("Abort after Commit: %v, %d messages", err, b.View().Len())
	}
	if _, err := a.Commit(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("second Commit: %v", err)
	}
	lz4, _ := compress.NewLevel(compress.Zstd, 20)
	if _, err := s.Append(t.Context(), mailbox.SaveInfo{}, nil, storage.Options{Compression: compress.Gzip, Level: lz4}); !errors.Is(err, compress.ErrLevel) {
		t.Errorf("level of another method: %v", err)
	}
	if _, err := s.Append(t.Context(), mailbox.SaveInfo{}, nil, storage.Options{Compression: compress.XZ}); !errors.Is(err, compress.ErrMethod) {
		t.Errorf("xz: %v", err)
	}
}

// TestFaults lets a save fail at each step it has.
func TestFaults(t *testing.T) {
	key := newKey(t)
	broken := errors.New("broken")
	for _, version := range []int{0, 2} {
		for _, m := range methods {
			for n := int64(1); ; n++ {
				b := newInbox(t)
				fail, steps := storagetest.FailAt(n, broken)
				s := storage.New(&storagetest.Faulty{Backend: b, Fail: fail})
				_, err := trySave(t, s, mail(70_000), key.Public(), storage.Options{Version: version, Compression: m})
				if steps() < n {
					if err != nil || b.View().Len() != 1 {
						t.Errorf("v%d %s without a fault: %v", version, m, err)
					}
					break
				}
				if !errors.Is(err, broken) || b.View().Len() != 0 {
					t.Errorf("v%d %s, fault at step %d: %v, %d messages", version, m, n, err, b.View().Len())
				}
			}
		}
	}
}

func TestReadFaults(t *testing.T) {
	key := newKey(t)
	broken := errors.New("broken")
	for _, size := range []int{2000, 3 << 20, 4<<20 + 300<<10} {
		for _, o := range []storage.Options{{}, {Version: 2}, {Version: 2, Compression: compress.Zstd}, {Compression: compress.LZ4}} {
			b := newInbox(t)
			text := mail(size)
			uid := save(t, storage.New(b), text, key.Public(), o)
			for n := int64(1); ; n += 1 + n/8 {
				fail, steps := storagetest.FailAt(n, broken)
				got, err := read(t, storage.New(&storagetest.Faulty{Backend: b, Fail: fail}), uid, keyring{}.add(key))
				if steps() < n {
					if err != nil || !bytes.Equal(got, asRead(text)) {
						t.Errorf("%+v without a fault: %v", o, err)
					}
					break
				}
				if err == nil {
					continue // closing failed after all was read
				}
				if !errors.Is(err, broken) {
					t.Errorf("%+v, fault at step %d: %v", o, n, err)
				}
				wantKind(t, err, storage.IO, "fault")
				if !bytes.HasPrefix(asRead(text), got) {
					t.Errorf("%+v, fault at step %d: other text", o, n)
				}
			}
		}
	}
}

func TestNotFoundAndCancelled(t *testing.T) {
	b := newInbox(t)
	s := storage.New(b)
	var r *storage.ReadError
	if _, err := s.Open(t.Context(), 7, nil); !errors.Is(err, mailbox.ErrNotFound) || errors.As(err, &r) {
		t.Errorf("Open of what is not there: %v", err)
	}
	if _, err := s.Header(t.Context(), 7); !errors.Is(err, mailbox.ErrNotFound) {
		t.Errorf("Header of what is not there: %v", err)
	}
	uid := save(t, s, mail(2<<20), nil, storage.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, uid, nil); !errors.Is(err, context.Canceled) || errors.As(err, &r) {
		t.Errorf("Open in a cancelled context: %v", err)
	}
}

func TestHeader(t *testing.T) {
	key := newKey(t)
	b := newInbox(t)
	s := storage.New(b)
	if h, err := s.Header(t.Context(), save(t, s, mail(500), nil, storage.Options{Compression: compress.Gzip})); h != nil || err != nil {
		t.Errorf("Header of a plain message = %+v, %v", h, err)
	}
	h, err := s.Header(t.Context(), save(t, s, mail(500), key.Public(), storage.Options{Version: 2}))
	if err != nil || len(h.Recipients) != 1 || h.Recipients[0].ID != key.ID() {
		t.Errorf("Header = %+v, %v; want key %s", h, err, key.ID())
	}
	_, err = s.Header(t.Context(), put(t, b, []byte("CRYPTED\x03\x07"), mailbox.UnknownSizes))
	wantKind(t, err, storage.Damaged, "the magic alone")
}

func TestLink(t *testing.T) {
	m := storagetest.NewMemory('/')
	if err := m.Create(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	open := func(name string) *storage.Store {
		b, err := m.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return storage.New(b)
	}
	key := newKey(t)
	from, to := open(mailbox.Inbox), open("Other")
	uid := save(t, from, mail(1000), key.Public(), storage.Options{Version: 2})
	linked, err := to.Link(t.Context(), from, uid, mailbox.SaveInfo{NeedUID: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, to, linked, keyring{}.add(key)); err != nil || !bytes.Equal(got, asRead(mail(1000))) {
		t.Errorf("linked message: %d bytes, %v", len(got), err)
	}
	if _, err := storage.New(&storagetest.Faulty{Backend: to.Backend()}).Link(t.Context(), from, uid, mailbox.SaveInfo{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Link of a backend that cannot: %v", err)
	}
}

// TestCanary looks for plaintext in what is stored.
func TestCanary(t *testing.T) {
	key := newKey(t)
	for _, m := range methods {
		for _, version := range []int{0, 1, 2} {
			c := storagetest.NewCanary()
			form := c.Find(transform(t, c.Message(), key.Public(), storage.Options{Version: version, Compression: m}))
			if (form != "") != (version == 0) {
				t.Errorf("version %d, %q: found as %q", version, m, form)
			}
		}
	}
}
