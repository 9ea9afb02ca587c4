package dcrypt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"
)

// TestEncapsulate: each kind of key agrees with its public half, and with no other.
func TestEncapsulate(t *testing.T) {
	var list []*PrivateKey
	for _, c := range curves {
		k, err := generateKey(c.curve)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, k)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newPrivateRSA(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range append(list, k) {
		enc, secret, err := k.Public().Encapsulate()
		if err != nil || len(secret) < 28 {
			t.Fatalf("key %d: %d octets, %v", i, len(secret), err)
		}
		again, err := k.Decapsulate(enc)
		if err != nil || !bytes.Equal(again, secret) {
			t.Errorf("key %d: the secrets differ: %v", i, err)
		}
		if _, other, _ := k.Public().Encapsulate(); bytes.Equal(other, secret) {
			t.Errorf("key %d: the same secret twice", i)
		}
		var bad *FormatError
		if _, err := k.Decapsulate(enc[:len(enc)-1]); !errors.As(err, &bad) {
			t.Errorf("key %d: a cut encapsulation: %v", i, err)
		}
		if derived, err := k.Derive("a", 32); err != nil || bytes.Contains(enc, derived) {
			t.Errorf("key %d: Derive: %v", i, err)
		}
	}
}

func TestDerive(t *testing.T) {
	k, err := GenerateKey(Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, info := range []string{"a", "b", ""} {
		one, err := k.Derive(info, 48)
		two, _ := k.Derive(info, 48)
		if err != nil || len(one) != 48 || !bytes.Equal(one, two) || seen[string(one)] {
			t.Errorf("info %q: %v", info, err)
		}
		seen[string(one)] = true
	}
	k.Destroy()
	if _, err := k.Derive("a", 32); !errors.Is(err, ErrNoKey) {
		t.Errorf("after Destroy: %v", err)
	}
	if _, err := k.Decapsulate(make([]byte, 65)); !errors.Is(err, ErrNoKey) {
		t.Errorf("after Destroy: %v", err)
	}
}
