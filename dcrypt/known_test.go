package dcrypt

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"mailcrypt/internal/recent"
	"mailcrypt/internal/secret"
)

// TestKnown: a key that is opened again is the same key, does all that it did, and its public
// point is not computed.
func TestKnown(t *testing.T) {
	protector := testKeys()[Prime256v1]
	for _, c := range curves {
		k := testKeys()[c.curve]
		byPassword, err := SealPassword(k, []byte("x"), SealOptions{Rounds: 1})
		if err != nil {
			t.Fatal(err)
		}
		byKey, err := SealKey(k, protector.Public(), SealOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stream := encrypt(t, k.Public(), WriterOptions{}, []byte("mail"), 1)
		for form, text := range map[string][]byte{"open": k.Text(), "password": byPassword, "key": byKey, "PEM": k.PEM()} {
			known := &Known{}
			o := Opener{Password: secret.New([]byte("x")), Keys: KeyList{protector}, Known: known}
			for round, want := range []int64{1, 1, 1} {
				back, err := ParsePrivateKey(text, o)
				if err != nil {
					t.Fatalf("%s, %s: %v", c.curve, form, err)
				}
				if got, _ := known.Operations(); got != want {
					t.Errorf("%s, %s, round %d: %d points computed, want %d", c.curve, form, round, got, want)
				}
				if back.ID() != k.ID() || !bytes.Equal(back.Text(), k.Text()) || !bytes.Equal(back.PEM(), k.PEM()) {
					t.Errorf("%s, %s, round %d: another key", c.curve, form, round)
				}
				back.Destroy()
				if _, err := readStream(stream, KeyList{back}); !errors.Is(err, ErrNoKey) {
					t.Errorf("%s, %s, round %d: a destroyed key reads: %v", c.curve, form, round, err)
				}
			}
			back := mustPrivate(t, string(text), o)
			if got, err := readStream(stream, KeyList{back}); err != nil || string(got) != "mail" {
				t.Errorf("%s, %s: a key that was known reads %q, %v", c.curve, form, got, err)
			}
			if _, agreed := known.Operations(); agreed != 1 {
				t.Errorf("%s, %s: agreed %d times, want once", c.curve, form, agreed)
			}
		}
	}
}

// TestKnownTellsKeysApart: what is remembered of one key opens no other, and what did not open
// is not remembered.
func TestKnownTellsKeysApart(t *testing.T) {
	known := &Known{}
	k, other := testKeys()[Secp521r1], testKeys()[Secp384r1]
	text, err := SealPassword(k, []byte("right"), SealOptions{Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		_, err := ParsePrivateKey(text, Opener{Password: secret.New([]byte("wrong")), Known: known})
		if !errors.Is(err, ErrPassword) {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	if n := known.points.Len(); n != 0 {
		t.Errorf("%d keys that nobody opened are remembered", n)
	}
	for _, k := range []*PrivateKey{k, other} {
		mustPrivate(t, string(k.Text()), Opener{Known: known})
	}
	// The text of one key under the id of the other.
	id, lie := k.ID().String(), other.ID().String()
	mixed := bytes.Replace(k.Text(), []byte(id), []byte(lie), 1)
	if _, err := ParsePrivateKey(mixed, Opener{Known: known}); !errors.Is(err, ErrKeyID) {
		t.Errorf("a known key under another id: %v", err)
	}
}

// TestKnownIsBounded fills it beyond its bound. What is used stays.
func TestKnownIsBounded(t *testing.T) {
	known := &Known{}
	k := mustPrivate(t, k1Text, Opener{Known: known})
	info, scalar := k.pub.info, make([]byte, k.pub.info.scalar)
	for i := range 3 * recent.Generation {
		scalar[0], scalar[1], scalar[2] = byte(i), byte(i>>8), byte(i>>16)
		known.mu.Lock()
		known.points.Put(known.mac(info, scalar), k.pub.point)
		known.mu.Unlock()
		if i%1000 == 0 && known.point(info, k.scalar.Bytes()) == nil {
			t.Fatal("what is used was forgotten")
		}
	}
	if n := known.points.Len(); n > 2*recent.Generation {
		t.Errorf("%d keys are remembered", n)
	}
}

// TestKnownConcurrently uses a key whose agreement is not made yet from many sides.
func TestKnownConcurrently(t *testing.T) {
	known := &Known{}
	stream := encrypt(t, testKeys()[Secp384r1].Public(), WriterOptions{}, []byte("mail"), 1)
	text := testKeys()[Secp384r1].Text()
	mustPrivate(t, string(text), Opener{Known: known})
	k := mustPrivate(t, string(text), Opener{Known: known})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if got, err := readStream(stream, KeyList{k}); string(got) != "mail" && !errors.Is(err, ErrNoKey) {
				t.Errorf("read %q, %v", got, err)
			}
			if i == 7 {
				k.Destroy()
			}
			k.Text()
		})
	}
	all.Wait()
}
