package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

// TestSizes gives messages recorded sizes that are wrong.
func TestSizes(t *testing.T) {
	key := newKey(t)
	text := mail(5000)
	plain := asRead(text)
	right := mailbox.Sizes{Physical: int64(len(lf(text))), Virtual: int64(len(plain))}
	const serve, damaged = true, false
	for _, tt := range []struct {
		name  string
		o     storage.Options
		wrong bool // what a wrong size comes to
	}{
		{"plain", storage.Options{}, serve},
		{"gz", storage.Options{Compression: compress.Gzip}, serve},
		{"bz2", storage.Options{Compression: compress.Bzip2}, serve},
		{"lz4", storage.Options{Compression: compress.LZ4}, damaged},
		{"zstd", storage.Options{Compression: compress.Zstd}, damaged},
		{"v1", storage.Options{Version: 1}, damaged},
		{"v1 lz4", storage.Options{Version: 1, Compression: compress.LZ4}, damaged},
		{"v1 gz", storage.Options{Version: 1, Compression: compress.Gzip}, serve},
		{"v2", storage.Options{Version: 2}, serve},
		{"v2 lz4", storage.Options{Version: 2, Compression: compress.LZ4}, serve},
	} {
		bytesStored := transform(t, text, key.Public(), tt.o)
		right.Stored = int64(len(bytesStored))
		unknown := mailbox.Unknown
		for _, rec := range []struct {
			name  string
			s     mailbox.Sizes
			wrong bool
		}{
			{"right", right, false},
			{"unknown", mailbox.UnknownSizes, false},
			{"physical only", mailbox.Sizes{Physical: right.Physical, Virtual: unknown}, false},
			{"physical too small", mailbox.Sizes{Physical: right.Physical - 1, Virtual: unknown}, true},
			{"physical too large", mailbox.Sizes{Physical: right.Physical + 1, Virtual: right.Virtual}, true},
			{"virtual too large", mailbox.Sizes{Physical: right.Physical, Virtual: right.Virtual + 1}, true},
			{"virtual huge", mailbox.Sizes{Physical: unknown, Virtual: 1 << 50}, true},
			{"size on disk", mailbox.Sizes{Physical: right.Stored, Virtual: right.Stored}, true},
			{"zero", mailbox.Sizes{}, true},
		} {
			b := newInbox(t)
			recorded := 0
			s := storage.New(&storagetest.Faulty{Backend: b, Fail: func(op storagetest.Op) error {
				if op == storagetest.OpRecordSizes {
					recorded++
				}
				return nil
			}})
			uid := put(t, b, bytesStored, rec.s)
			got, err := read(t, s, uid, keyring{}.add(key))
			if rec.wrong && tt.wrong == damaged {
				wantKind(t, err, storage.Damaged, tt.name+", "+rec.name)
				if recorded != 0 {
					t.Errorf("%s, %s: sizes of a damaged message were recorded", tt.name, rec.name)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, %s: %d bytes, %v", tt.name, rec.name, len(got), err)
				continue
			}
			m, err := b.Stat(t.Context(), uid)
			if err != nil || m.Sizes != right || (recorded == 0) != (rec.name == "right") {
				t.Errorf("%s, %s: %d times recorded, sizes are now %+v, want %+v", tt.name, rec.name, recorded, m.Sizes, right)
			}
		}
	}
}

func lf(text []byte) []byte {
	return []byte(strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\r"))
}

func TestSizesCannotBeRecorded(t *testing.T) {
	b := newInbox(t)
	uid := put(t, b, []byte("text\n"), mailbox.UnknownSizes)
	s := storage.New(&storagetest.Faulty{Backend: b, Fail: storagetest.FailOn(errors.New("read-only"), storagetest.OpRecordSizes)})
	if got, err := read(t, s, uid, nil); err != nil || string(got) != "text\r\n" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestUnreadable(t *testing.T) {
	key, other := newKey(t), newKey(t)
	v2 := transform(t, mail(3000), key.Public(), storage.Options{Version: 2, Compression: compress.Gzip})
	v1 := transform(t, mail(3000), key.Public(), storage.Options{Version: 1})
	lz4 := transform(t, mail(100_000), nil, storage.Options{Compression: compress.LZ4})
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 0x40; return b }
	known := func(n int64) mailbox.Sizes { return mailbox.Sizes{Physical: n, Virtual: n} }
	var notFound dcrypt.KeyFinder = keyring{}.add(other)
	for _, tt := range []struct {
		name   string
		stored []byte
		s      mailbox.Sizes
		keys   dcrypt.KeyFinder
		kind   storage.Kind
		reason string
	}{
		{"no keys at all", v2, mailbox.UnknownSizes, nil, storage.NoKey, "no private key"},
		{"another key", v2, mailbox.UnknownSizes, notFound, storage.NoKey, "no private key"},
		{"version 1, another key", v1, mailbox.UnknownSizes, notFound, storage.NoKey, "no private key"},
		{"tag", flip(v2, len(v2)-1), mailbox.UnknownSizes, keyring{}.add(key), storage.Damaged, "tag failure"},
		{"ciphertext", flip(v2, len(v2)-20), mailbox.UnknownSizes, keyring{}.add(key), storage.Damaged, "tag failure"},
		{"cut", v2[:len(v2)-1], mailbox.UnknownSizes, keyring{}.add(key), storage.Damaged, "damaged"},
		{"header cut", v2[:40], mailbox.UnknownSizes, keyring{}.add(key), storage.Damaged, "damaged"},
		{"magic alone", v2[:9], mailbox.UnknownSizes, keyring{}.add(key), storage.Damaged, "damaged"},
		{"version 1 cut", v1[:len(v1)-1], known(3000), keyring{}.add(key), storage.Damaged, "wrong size"},
		{"unknown version", append([]byte("CRYPTED\x03\x07\x09"), v2[10:]...), mailbox.UnknownSizes, keyring{}.add(key), storage.Unsupported, "not supported"},
		{"empty file", nil, known(10), nil, storage.Damaged, "wrong size"},
		{"magic lost", flip(v2, 0), known(3000), nil, storage.Damaged, "wrong size"},
		{"gz cut", transform(t, mail(3000), nil, storage.Options{Compression: compress.Gzip})[:500], known(3000), nil, storage.Damaged, "ends early"},
		{"gz magic alone", []byte("\x1f\x8b"), mailbox.UnknownSizes, nil, storage.Damaged, "ends early"},
		{"lz4 cut between blocks", lz4[:19], known(100_000), nil, storage.Damaged, "wrong size"},
		{"bad zstd", []byte("\x28\xb5\x2f\xfdxxxxxxxxxxxxxxxx"), mailbox.UnknownSizes, nil, storage.Damaged, "compressed data"},
	} {
		b := newInbox(t)
		uid := put(t, b, tt.stored, tt.s)
		got, err := read(t, storage.New(b), uid, tt.keys)
		wantKind(t, err, tt.kind, tt.name)
		var r *storage.ReadError
		if errors.As(err, &r) && (!strings.Contains(r.Reason(), tt.reason) || r.UID != uid) {
			t.Errorf("%s: uid %d, reason %q, want one with %q", tt.name, r.UID, r.Reason(), tt.reason)
		}
		if len(got) != 0 {
			t.Errorf("%s: %d bytes were given out", tt.name, len(got))
		}
	}
}

func TestBomb(t *testing.T) {
	for _, m := range methods[1:] {
		b := newInbox(t)
		uid := save(t, storage.New(b), make([]byte, 4<<20), nil, storage.Options{Compression: m})
		s := storage.New(b).WithReadLimit(1 << 20)
		_, err := read(t, s, uid, nil)
		wantKind(t, err, storage.TooLarge, string(m))
		if _, err := read(t, storage.New(b).WithReadLimit(4<<20), uid, nil); err != nil {
			t.Errorf("%s at the limit: %v", m, err)
		}
	}
}

// TestChangedWhileOpen alters a large message after it was verified.
func TestChangedWhileOpen(t *testing.T) {
	key := newKey(t)
	for size, o := range map[int]storage.Options{36 << 20: {Version: 2}, 4<<20 + 300<<10: {}} {
		data := transform(t, mail(size), key.Public(), o)
		b := &alterable{Backend: newInbox(t)}
		uid := put(t, b.Backend, data, mailbox.UnknownSizes)
		m, err := storage.New(b).Open(t.Context(), uid, keyring{}.add(key))
		if err != nil {
			t.Fatal(err)
		}
		b.cut = true
		_, err = io.Copy(io.Discard, io.NewSectionReader(m, 0, m.Size()))
		var r *storage.ReadError
		if !errors.As(err, &r) {
			t.Errorf("version %d: %v, want a ReadError", o.Version, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An alterable backend can lose what stands behind the first MiB.
type alterable struct {
	storage.Backend
	cut bool
}

func (a *alterable) Open(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	st, err := a.Backend.Open(ctx, uid)
	return &alterableStored{st, a}, err
}

type alterableStored struct {
	mailbox.Stored
	a *alterable
}

func (s *alterableStored) ReadAt(p []byte, off int64) (int, error) {
	if s.a.cut && off+int64(len(p)) > 1<<20 {
		return 0, io.EOF
	}
	return s.Stored.ReadAt(p, off)
}

// TestReadAtJumps reads a large message from many places.
func TestReadAtJumps(t *testing.T) {
	key := newKey(t)
	text := mail(5 << 20)
	want := asRead(text)
	for _, o := range []storage.Options{{}, {Version: 2}, {Version: 1}, {Version: 2, Compression: compress.Zstd}, {Compression: compress.LZ4}} {
		b := newInbox(t)
		s := storage.New(b)
		m, err := s.Open(t.Context(), save(t, s, text, key.Public(), o), keyring{}.add(key))
		if err != nil {
			t.Fatal(err)
		}
		if m.Form().Compression != o.Compression || (m.Form().Header != nil) != (o.Version != 0) {
			t.Errorf("%+v: Form is %+v", o, m.Form())
		}
		p := make([]byte, 3000)
		size := m.Size()
		for _, off := range []int64{0, 3000, 3001, 100, size - 10, size / 2, size/2 + 3000, 1 << 20, 129 << 10, 128 << 10, 127 << 10, 4 << 20, size - 1, 0} {
			n, err := m.ReadAt(p, off)
			part := want[off:min(off+3000, size)]
			if !bytes.Equal(p[:n], part) || err != nil && (err != io.EOF || n == len(p)) {
				t.Errorf("%+v: ReadAt(%d) = %d, %v", o, off, n, err)
			}
		}
		if _, err := m.ReadAt(p, size); err != io.EOF {
			t.Errorf("ReadAt the end: %v", err)
		}
		if _, err := m.ReadAt(p, -1); err == nil {
			t.Error("ReadAt(-1) did not fail")
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := m.ReadAt(p, 0); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("ReadAt after Close: %v", err)
		}
	}
}

// TestMemory opens messages that are too large to be in memory, and looks at what each costs.
func TestMemory(t *testing.T) {
	key := newKey(t)
	text := bytes.Repeat([]byte(strings.Repeat("x", 75)+"\n"), 33<<20/76)
	for _, o := range []storage.Options{{}, {Version: 2}, {Version: 2, Compression: compress.LZ4}, {Compression: compress.Gzip}} {
		b := newInbox(t)
		s := storage.New(b)
		uid := save(t, s, text, key.Public(), o)
		const n = 8
		var open [n]*storage.Message
		before := heap()
		for i := range open {
			m, err := s.Open(t.Context(), uid, keyring{}.add(key))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.ReadAt(make([]byte, 1000), 8<<20); err != nil {
				t.Fatal(err)
			}
			open[i] = m
		}
		if each := int64(heap()-before) / n; each > 768<<10 {
			t.Errorf("%+v: an open message of 33 MiB takes %d KiB", o, each>>10)
		}
		for _, m := range open {
			m.Close()
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func FuzzOpen(f *testing.F) {
	key := newKey(f)
	keys := keyring{}.add(key)
	for _, version := range []int{0, 1, 2} {
		for _, m := range methods {
			f.Add(transform(f, mail(300), key.Public(), storage.Options{Version: version, Compression: m}), int64(300), int64(17))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, size, off int64) {
		b := newInbox(t)
		uid := put(t, b, in, mailbox.Sizes{Physical: size, Virtual: mailbox.Unknown})
		m, err := storage.New(b).WithReadLimit(1<<20).Open(t.Context(), uid, keys)
		if err != nil {
			var r *storage.ReadError
			if !errors.As(err, &r) || r.Kind == storage.IO {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		defer m.Close()
		all, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
		if err != nil || int64(len(all)) != m.Size() {
			t.Fatalf("%d of %d bytes, %v", len(all), m.Size(), err)
		}
		if off >= 0 && off < m.Size() {
			var p [1]byte
			if _, err := m.ReadAt(p[:], off); err != nil || p[0] != all[off] {
				t.Fatalf("ReadAt(%d) = %x, %v", off, p, err)
			}
		}
	})
}
