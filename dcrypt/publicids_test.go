package dcrypt

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// publicTexts are the forms of every kind of public key, and some that are none.
func publicTexts(t testing.TB) (texts []string) {
	t.Helper()
	texts = append(texts, k1Public, k1V1Public, k1Text, "", "2:00:11", testRSA().Public().Text(), string(testRSA().Public().PEM()))
	for _, c := range curves {
		pub := testKeys()[c.curve].Public()
		old, _ := pub.OldID()
		uncompressed := "2:" + hex.EncodeToString(pub.spki(false)) + ":" + pub.ID().String()
		texts = append(texts, pub.Text(), string(pub.PEM()), uncompressed,
			strings.Replace(pub.Text(), pub.ID().String(), old.String(), 1))
	}
	for _, k := range loadVectors(t).Keys {
		texts = append(texts, k.PublicPEM, k.PublicDovecot)
	}
	return texts
}

// comparePublicIDs wants of a text what parsing it tells.
func comparePublicIDs(t *testing.T, text []byte) {
	t.Helper()
	id, old, err := PublicIDs(text)
	pub, perr := ParsePublicKey(text)
	switch {
	case err != nil && !typed(err):
		t.Errorf("untyped error %v", err)
	case err != nil && perr == nil:
		t.Errorf("%.60q parses, and has no IDs: %v", text, err)
	case perr != nil && err == nil && errors.Is(perr, ErrKeyID):
		t.Errorf("%.60q is under another ID, and has IDs", text)
	case perr == nil && (id != pub.id || old != pub.oldID):
		t.Errorf("%.60q: IDs %s and %s, want %s and %s", text, id, old, pub.id, pub.oldID)
	}
}

func TestPublicIDs(t *testing.T) {
	for _, text := range publicTexts(t) {
		comparePublicIDs(t, []byte(text))
	}
}

func FuzzPublicIDs(f *testing.F) {
	for _, text := range publicTexts(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { comparePublicIDs(t, text) })
}
