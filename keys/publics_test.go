package keys

import (
	"testing"

	"mailcrypt/dcrypt"
)

// TestPublicKeys: the same text is the same key, another text never is, and the number of
// keys is bounded.
func TestPublicKeys(t *testing.T) {
	var p PublicKeys
	for range maxPublics + 10 {
		k, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(k.Public().Text())
		one, err := p.parse(text)
		if err != nil || !one.Equal(k.Public()) {
			t.Fatalf("parsed another key: %v", err)
		}
		if two, _ := p.look(text); two != one {
			t.Fatal("a key that is held was not found")
		}
		if two, _ := p.parse(text); two != one {
			t.Fatal("parsed twice")
		}
		if _, err := p.parse(text[1:]); err == nil {
			t.Fatal("a cut text is a key")
		}
	}
	other, err := dcrypt.GenerateKey(dcrypt.Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	held := len(p.keys)
	for _, from := range []*PublicKeys{&p, nil} {
		if k, err := from.look([]byte(other.Public().Text())); err != nil || !k.Equal(other.Public()) || len(p.keys) != held {
			t.Errorf("looking at a key that is not held: %v, %d held, were %d", err, len(p.keys), held)
		}
	}
	if len(p.keys) > maxPublics {
		t.Errorf("%d keys are held", len(p.keys))
	}
}
