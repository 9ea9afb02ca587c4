package filecrypt

import (
	"bytes"
	"errors"
	"testing"

	"mailcrypt/dcrypt"
)

// TestPrivateKeys opens a file with a key in clear, one that a password seals, one that is
// sealed to that, one to the third, and one to a key that is not there.
func TestPrivateKeys(t *testing.T) {
	open, user, folder, deep, lost, other := newKey(t, dcrypt.Prime256v1), newKey(t, dcrypt.Secp521r1), newKey(t, dcrypt.Prime256v1), newKey(t, dcrypt.Prime256v1), newKey(t, dcrypt.Prime256v1), newKey(t, dcrypt.Prime256v1)
	must := func(text []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return append(text, '\n')
	}
	seal := func(k, to *dcrypt.PrivateKey) []byte {
		return must(dcrypt.SealKey(k, to.Public(), dcrypt.SealOptions{Rounds: 1}))
	}
	pem := open.PEM()
	file := bytes.Join([][]byte{seal(deep, folder), seal(folder, user), pem, {'\r', '\n'}, seal(lost, other),
		must(dcrypt.SealPassword(user, []byte("pw"), dcrypt.SealOptions{Rounds: 1}))}, nil)
	texts := Split(file)
	if len(texts) != 5 {
		t.Fatalf("the file has %d keys: %q", len(texts), texts)
	}
	asked := 0
	list, err := PrivateKeys(texts, func() ([]byte, error) { asked++; return []byte("pw"), nil })
	if !errors.Is(err, dcrypt.ErrNoKey) || asked != 1 {
		t.Errorf("the key that stays shut: %v; asked %d times", err, asked)
	}
	for _, k := range []*dcrypt.PrivateKey{open, user, folder, deep} {
		if _, err := list.PrivateKey(k.ID()); err != nil {
			t.Error(err)
		}
	}
	if _, err := list.PrivateKey(lost.ID()); len(list) != 4 || err == nil {
		t.Errorf("%d keys open", len(list))
	}
	list, err = PrivateKeys(texts, nil)
	if !errors.Is(err, dcrypt.ErrPasswordRequired) || len(list) != 1 {
		t.Errorf("without the password: %d keys, %v", len(list), err)
	}
	no := errors.New("no")
	if _, err := PrivateKeys(texts, func() ([]byte, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("nobody answers: %v", err)
	}
	pub, err := PublicKey(pem)
	if err != nil || pub.ID() != open.ID() {
		t.Errorf("the public half: %v", err)
	}
}

// FuzzSplit: the parts are the file, but for blank lines.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("2:a\n\n-----BEGIN X-----\nabc\n-----END X-----\n2:b"))
	f.Add([]byte("-----BEGIN X-----\nabc\n-----END X-----"))
	f.Add([]byte("-----BEGIN X"))
	f.Add([]byte(" {\n}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := bytes.Join(Split(text), nil)
		squeeze := func(b []byte) string { return string(bytes.Join(bytes.Fields(b), nil)) }
		if bytes.Count(text, []byte("\n")) < maxKeys && squeeze(got) != squeeze(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
