package dcrypt

import (
	"errors"
	"testing"

	"mailcrypt/internal/secret"
)

// TestSealV1 writes each form of version 1 and reads it back; the acceptance tests give
// them to Dovecot.
func TestSealV1(t *testing.T) {
	to, err := GenerateKey(Secp384r1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Curve{Prime256v1, Secp384r1, Secp521r1} {
		k, err := GenerateKey(c)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := k.OldID()
		for name, tt := range map[string]struct {
			make func() ([]byte, error)
			open Opener
		}{
			"open":     {func() ([]byte, error) { return TextV1(k) }, Opener{}},
			"password": {func() ([]byte, error) { return SealPasswordV1(k, []byte("00ffAB")) }, Opener{Password: secret.New([]byte("00ffab"))}},
			"key":      {func() ([]byte, error) { return SealKeyV1(k, to.Public()) }, Opener{Keys: KeyList{to}}},
		} {
			text, err := tt.make()
			if err != nil {
				t.Fatal(c, name, err)
			}
			info, err := Inspect(text)
			if err != nil || info.Format != FormatV1 || info.ID != old.String() || !info.Private {
				t.Errorf("%s, %s: %+v, %v", c, name, info, err)
			}
			back, err := ParsePrivateKey(text, tt.open)
			if err != nil || back.ID() != k.ID() {
				t.Errorf("%s, %s: %v", c, name, err)
			}
			if again, err := tt.make(); err != nil || name != "open" && string(again) == string(text) {
				t.Errorf("%s, %s: two seals are alike", c, name)
			}
		}
		for _, p := range []string{"", "x", "abc"} {
			if _, err := SealPasswordV1(k, []byte(p)); !errors.Is(err, ErrHexPassword) {
				t.Errorf("password %q: %v", p, err)
			}
		}
		k.Destroy()
		if _, err := TextV1(k); !errors.Is(err, ErrNoKey) {
			t.Errorf("a destroyed key: %v", err)
		}
	}
	var unsupported *UnsupportedError
	raw, err := GenerateKey(X25519)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TextV1(raw); !errors.As(err, &unsupported) {
		t.Errorf("X25519: %v", err)
	}
	if _, err := SealKeyV1(to, raw.Public()); !errors.As(err, &unsupported) {
		t.Errorf("to X25519: %v", err)
	}
}
