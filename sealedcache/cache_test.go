package sealedcache

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

func newKey(t testing.TB) *dcrypt.PrivateKey {
	t.Helper()
	k, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// value is what a test keeps for a message.
func value(uid mailbox.UID, n int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("secret text of message %d.", uid)), n)
}

func want(t *testing.T, o *Opener, f Field, uid mailbox.UID, v []byte) {
	t.Helper()
	got, ok := o.Get(nil, f, uid)
	if ok != (v != nil) || !bytes.Equal(got, v) {
		t.Errorf("field %d of %d: %.60q, %v; want %.60q", f, uid, got, ok, v)
	}
}

func TestRoundTrip(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	keys := dcrypt.KeyList{key}
	c := Open(dir, guid, Options{})
	o := c.Opener(keys, 1)
	const n = 3000
	for uid := mailbox.UID(1); uid <= n; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 3))
		if uid%2 == 0 {
			o.Put(BodyStructure, uid, key.ID(), value(uid, 1))
		}
	}
	o.Put(Headers, 5, key.ID(), nil)
	o.Put(Headers, 6, key.ID(), bytes.Repeat([]byte("x"), MaxValue+1))
	check := func(o *Opener) {
		t.Helper()
		for pass := range 2 {
			for uid := mailbox.UID(1); uid <= n; uid++ {
				want(t, o, Envelope, uid, value(uid, 3))
				if uid%2 == 0 && pass == 1 {
					want(t, o, BodyStructure, uid, value(uid, 1))
				}
			}
		}
		want(t, o, BodyStructure, 1, nil)
		want(t, o, Headers, 5, []byte{})
		want(t, o, Headers, 6, nil)
		want(t, o, Envelope, n+1, nil)
	}
	check(o)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, o, Envelope, 1, nil) // closed
	text, err := os.ReadFile(filepath.Join(dir, FileName(guid)))
	if err != nil || len(text) < n*70 || bytes.Contains(text, []byte("secret text")) {
		t.Fatalf("a file of %d bytes, or one that tells: %v", len(text), err)
	}
	c = Open(dir, guid, Options{})
	defer c.Close()
	check(c.Opener(keys, 1))
	want(t, c.Opener(dcrypt.KeyList{newKey(t)}, 1), Envelope, 1, nil)
}

// TestKeyData: who delivers has the public key alone; who reads turns that into what is cheap to
// read again.
func TestKeyData(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	head := func(i int) []byte { return fmt.Appendf(nil, "header of stream %d", i) }
	c := Open(dir, guid, Options{})
	for i := range 100 {
		c.PutKeyData(head(i), key.Public(), fmt.Appendf(nil, "key data %d", i))
	}
	c.Close()
	for range 2 {
		c = Open(dir, guid, Options{})
		o := c.Opener(dcrypt.KeyList{key}, 1)
		for i := range 100 {
			if got := o.KeyData(head(i)); string(got) != fmt.Sprintf("key data %d", i) {
				t.Fatalf("key data of %d: %q", i, got)
			}
		}
		if o.KeyData(head(100)) != nil {
			t.Error("key data of a stream nobody has seen")
		}
		for n, e := range c.entries {
			if c.slots[e.slot].how != derived {
				t.Fatalf("entry %x costs an agreement still", n)
			}
		}
		c.Close()
	}
	c = Open(dir, guid, Options{})
	defer c.Close()
	if c.Opener(dcrypt.KeyList{newKey(t)}, 1).KeyData(head(1)) != nil {
		t.Error("opened by another key")
	}
}

// TestForgedFields: the holder of the public key alone cannot say what a message's envelope is.
func TestForgedFields(t *testing.T) {
	key := newKey(t)
	c := Open(t.TempDir(), mailbox.NewGUID(), Options{})
	defer c.Close()
	c.store(uidName(Envelope, 1, 1), nil, key.Public(), []byte("forged"))
	want(t, c.Opener(dcrypt.KeyList{key}, 1), Envelope, 1, nil)
}

// TestMoved: an entry counts for its own mailbox, message and field alone.
func TestMoved(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	keys := dcrypt.KeyList{key}
	c := Open(dir, guid, Options{})
	o := c.Opener(keys, 1)
	for uid := mailbox.UID(1); uid <= 3; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 1))
	}
	want(t, o, Envelope, 1, value(1, 1))
	places := map[mailbox.UID]int64{}
	for n, e := range c.entries {
		_, uid, _ := n.uid()
		places[uid] = e.at
	}
	c.Close()
	path := filepath.Join(dir, FileName(guid))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func([]byte){
		"UID":   func(b []byte) { binary.BigEndian.PutUint32(b[places[2]+21:], 9) },
		"field": func(b []byte) { b[places[2]+16] = byte(BodyStructure) },
		"text":  func(b []byte) { b[places[2]+44] ^= 1 },
		"count": func(b []byte) { b[places[2]+15] ^= 1 },
	} {
		changed := bytes.Clone(text)
		change(changed)
		os.WriteFile(path, changed, 0o600)
		c := Open(dir, guid, Options{})
		o := c.Opener(keys, 1)
		for _, f := range []Field{Envelope, BodyStructure} {
			for _, uid := range []mailbox.UID{2, 9} {
				if got, ok := o.Get(nil, f, uid); ok {
					t.Errorf("%s changed: field %d of %d is %q", what, f, uid, got)
				}
			}
		}
		want(t, o, Envelope, 1, value(1, 1))
		want(t, o, Envelope, 3, value(3, 1))
		o.Put(Envelope, 2, key.ID(), value(2, 2)) // as after reading the message
		want(t, o, Envelope, 2, value(2, 2))
		c.Close()
	}
	// The file of another mailbox, and the same message under another UIDVALIDITY.
	os.WriteFile(path, text, 0o600)
	other := mailbox.NewGUID()
	copied := bytes.Clone(text)
	copy(copied[len(magic):], other[:])
	os.WriteFile(filepath.Join(dir, FileName(other)), copied, 0o600)
	c = Open(dir, other, Options{})
	want(t, c.Opener(keys, 1), Envelope, 1, nil)
	c.Close()
	c = Open(dir, guid, Options{})
	want(t, c.Opener(keys, 2), Envelope, 1, nil)
	c.Close()
}

// TestCut: what a crash leaves of a file is read as far as it goes, and written on.
func TestCut(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	keys := dcrypt.KeyList{key}
	c := Open(dir, guid, Options{})
	o := c.Opener(keys, 1)
	for uid := mailbox.UID(1); uid <= 4; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 1))
	}
	c.Close()
	path := filepath.Join(dir, FileName(guid))
	text, _ := os.ReadFile(path)
	for n := range len(text) {
		os.WriteFile(path, text[:n], 0o600)
		c := Open(dir, guid, Options{})
		o := c.Opener(keys, 1)
		there := 0
		for uid := mailbox.UID(1); uid <= 4; uid++ {
			if got, ok := o.Get(nil, Envelope, uid); ok {
				there++
				if !bytes.Equal(got, value(uid, 1)) {
					t.Fatalf("cut at %d: %q", n, got)
				}
			}
		}
		if n == len(text)-1 && there != 3 {
			t.Errorf("%d of 3 whole entries are there", there)
		}
		o.Put(Envelope, 9, key.ID(), value(9, 1))
		c.Close()
		c = Open(dir, guid, Options{})
		want(t, c.Opener(keys, 1), Envelope, 9, value(9, 1))
		c.Close()
	}
}

// TestRest: what rests is used again as if nothing had been, also where the file went away
// meanwhile.
func TestRest(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	keys := dcrypt.KeyList{key}
	c := Open(dir, guid, Options{})
	defer c.Close()
	o := c.Opener(keys, 1)
	for uid := mailbox.UID(1); uid <= 20; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 1))
		if uid%3 == 0 {
			c.Rest()
		}
		want(t, o, Envelope, uid, value(uid, 1))
		want(t, o, Envelope, 1, value(1, 1))
		if uid%7 == 0 {
			c.PutKeyData([]byte{byte(uid)}, key.Public(), []byte("kd"))
			c.Rest()
			if string(o.KeyData([]byte{byte(uid)})) != "kd" {
				t.Error("key data are gone")
			}
		}
	}
	if len(c.slots) != 2 {
		t.Errorf("%d slots for two ways to seal", len(c.slots))
	}
	c.Rest()
	os.Remove(filepath.Join(dir, FileName(guid)))
	want(t, o, Envelope, 1, nil)
	o.Put(Envelope, 1, key.ID(), value(1, 2))
	c.Rest()
	want(t, o, Envelope, 1, value(1, 2))
}

// TestBounds: the file stays below its limit, the newest entries stay, and what was expunged or
// replaced goes.
func TestBounds(t *testing.T) {
	dir, guid, key := t.TempDir(), mailbox.NewGUID(), newKey(t)
	keys := dcrypt.KeyList{key}
	const most = 1 << 20
	c := Open(dir, guid, Options{MaxBytes: most})
	o := c.Opener(keys, 1)
	const n = 20000
	for uid := mailbox.UID(1); uid <= n; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 5))
		if uid%500 == 0 {
			want(t, o, Envelope, uid, value(uid, 5))
		}
	}
	for uid := mailbox.UID(n - 1000); uid <= n; uid++ {
		want(t, o, Envelope, uid, value(uid, 5))
	}
	want(t, o, Envelope, 1, nil)
	info, err := os.Stat(filepath.Join(dir, FileName(guid)))
	if err != nil || info.Size() > most+flushSize {
		t.Errorf("%d bytes: %v", info.Size(), err)
	}
	c.Close()

	guid = mailbox.NewGUID()
	c = Open(dir, guid, Options{})
	o = c.Opener(keys, 1)
	for uid := mailbox.UID(1); uid <= n; uid++ {
		o.Put(Envelope, uid, key.ID(), value(uid, 5))
	}
	o.PutKeyData([]byte("header"), key.ID(), []byte("kd"))
	c.Keep(1, func(uid mailbox.UID) bool { return uid%100 == 0 })
	want(t, o, Envelope, 100, value(100, 5))
	want(t, o, Envelope, 101, nil)
	o.Put(Envelope, 101, key.ID(), value(101, 1))
	c.Close()
	if info, _ := os.Stat(filepath.Join(dir, FileName(guid))); info.Size() > 100<<10 {
		t.Errorf("%d bytes for 200 entries", info.Size())
	}
	c = Open(dir, guid, Options{})
	defer c.Close()
	o = c.Opener(keys, 1)
	want(t, o, Envelope, 100, value(100, 5))
	want(t, o, Envelope, 101, value(101, 1))
	if string(o.KeyData([]byte("header"))) != "kd" {
		t.Error("key data are gone")
	}
}

// TestUnusable: where there can be no file nothing is kept, and nothing fails.
func TestUnusable(t *testing.T) {
	key := newKey(t)
	path := filepath.Join(t.TempDir(), "file")
	os.WriteFile(path, nil, 0o600)
	c := Open(path, mailbox.NewGUID(), Options{})
	o := c.Opener(dcrypt.KeyList{key}, 1)
	o.Put(Envelope, 1, key.ID(), []byte("x"))
	want(t, o, Envelope, 1, nil)
	c.PutKeyData([]byte("h"), key.Public(), []byte("kd"))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzFile: no file makes more of it than an empty cache.
func FuzzFile(f *testing.F) {
	guid := mailbox.NewGUID()
	key, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	c := Open(dir, guid, Options{})
	o := c.Opener(dcrypt.KeyList{key}, 1)
	o.Put(Envelope, 1, key.ID(), []byte("x"))
	c.PutKeyData([]byte("h"), key.Public(), []byte("kd"))
	c.Close()
	text, err := os.ReadFile(filepath.Join(dir, FileName(guid)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text[fileHead:])
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 49})
	f.Fuzz(func(t *testing.T, records []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, FileName(guid)), append(bytes.Clone(text[:fileHead]), records...), 0o600)
		c := Open(dir, guid, Options{})
		defer c.Close()
		o := c.Opener(dcrypt.KeyList{key}, 1)
		if got, ok := o.Get(nil, Envelope, 1); ok && string(got) != "x" {
			t.Fatalf("%q", got)
		}
		o.Put(Envelope, 2, key.ID(), []byte("y"))
		want(t, o, Envelope, 2, []byte("y"))
		if c.broken {
			t.Fatal("the cache was given up")
		}
	})
}

func BenchmarkGet(b *testing.B) {
	dir, guid, key := b.TempDir(), mailbox.NewGUID(), newKey(b)
	c := Open(dir, guid, Options{})
	defer c.Close()
	o := c.Opener(dcrypt.KeyList{key}, 1)
	v := make([]byte, 300)
	rand.Read(v)
	const n = 10000
	for uid := mailbox.UID(1); uid <= n; uid++ {
		o.Put(Envelope, uid, key.ID(), v)
	}
	c.Rest()
	b.ReportAllocs()
	uid := mailbox.UID(0)
	for b.Loop() {
		uid = uid%n + 1
		if _, ok := o.Get(nil, Envelope, uid); !ok {
			b.Fatal(uid)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	key := newKey(b)
	c := Open(b.TempDir(), mailbox.NewGUID(), Options{})
	defer c.Close()
	o := c.Opener(dcrypt.KeyList{key}, 1)
	v := make([]byte, 300)
	b.ReportAllocs()
	uid := mailbox.UID(0)
	for b.Loop() {
		uid++
		o.Put(Envelope, uid, key.ID(), v)
	}
}
