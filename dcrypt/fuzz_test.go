package dcrypt

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"mailcrypt/internal/secret"
)

// seedStreams adds the small vectors, so that a fuzzer knows all algorithms.
func seedStreams(f *testing.F) KeyList {
	files, err := filepath.Glob(filepath.Join(vectorDir, "dcrypt", "*-17.crypt"))
	if err != nil || len(files) < 15 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	keys := KeyList{mustPrivate(f, k1Text, Opener{}), mustPrivate(f, folderText, Opener{}), mustPrivate(f, x25519Text, Opener{})}
	for _, s := range sampleStreams {
		f.Add(unhex(f, s.hex))
	}
	for _, k := range loadVectors(f).Keys {
		keys = append(keys, mustPrivate(f, k.PrivatePEM, Opener{}))
	}
	return keys
}

func FuzzReadHeader(f *testing.F) {
	seedStreams(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !typed(err) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if h.Size < int64(minHeaderV1) || h.Size > int64(len(b)) || len(h.Recipients) == 0 || h.Rounds > maxRounds ||
			(h.Version == 2) != (h.Rounds > 0) {
			t.Fatalf("impossible header %+v", h)
		}
		// What is written again reads the same, but for padding and the ignored lengths.
		again, err := h.marshal()
		if err != nil {
			t.Fatal(err)
		}
		h2, err := ReadHeader(bytes.NewReader(again), int64(len(again)))
		if err != nil {
			t.Fatalf("reading what marshal wrote: %v", err)
		}
		third, err := h2.marshal()
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("header changes when it is written again: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	keys := seedStreams(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ReadHeader(bytes.NewReader(b), int64(len(b))); err == nil && h.Rounds > 5000 {
			return // allowed, but it slows the fuzzer down
		}
		r, err := Open(bytes.NewReader(b), int64(len(b)), keys)
		if err != nil {
			if !typed(err) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		defer r.Close()
		plain, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()+1))
		if err != nil || int64(len(plain)) != r.Size() || len(plain) > len(b) {
			t.Fatalf("read %d of %d octets: %v", len(plain), r.Size(), err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, text := range []string{k1Text, k1PEM, k1Password, k1Public, k1V1, k1V1Password, k1V1Public,
		userSealed, folderSealed, folderText, x25519Text, `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","d":"AQ"}`,
		`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`, `{"kty":"OKP","crv":"X448","x":"AQ","d":"AQ"}`} {
		f.Add([]byte(text))
	}
	for _, k := range loadVectors(f).Keys {
		for _, text := range []string{k.PublicPEM, k.PrivatePEM, k.PublicDovecot, k.PrivateDovecot, k.PrivatePEMEncrypted.PEM} {
			f.Add([]byte(text))
		}
		for _, e := range k.Encrypted {
			f.Add([]byte(e.PrivateDovecot))
		}
	}
	open := Opener{Password: secret.New([]byte("736563726574")), Keys: KeyList{mustPrivate(f, folderText, Opener{})}}
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := Inspect(text)
		if err != nil && !typed(err) {
			t.Fatalf("Inspect: untyped error %v", err)
		}
		DecodeKeySetting(text)
		pub, err := ParsePublicKey(text)
		if err == nil {
			again, err := ParsePublicKey([]byte(pub.Text()))
			if err != nil || !again.Equal(pub) || info.Private {
				t.Fatalf("public key does not survive: %v", err)
			}
		} else if !typed(err) {
			t.Fatalf("ParsePublicKey: untyped error %v", err)
		}
		if info.Rounds > 5000 || info.Format == FormatPEM && info.Protection == ByPassword && len(text) > 1 && !bytes.Contains(text, []byte("AgIIAA")) {
			return // more rounds than OpenSSL's 2,048 slow the fuzzer down
		}
		k, err := ParsePrivateKey(text, open)
		if err != nil {
			if !typed(err) {
				t.Fatalf("ParsePrivateKey: untyped error %v", err)
			}
			return
		}
		for _, form := range [][]byte{k.Text(), k.PEM()} {
			again, err := ParsePrivateKey(form, Opener{})
			if err != nil || again.ID() != k.ID() {
				t.Fatalf("private key does not survive: %v", err)
			}
		}
		if _, err := ParsePublicKey(text); err == nil || errors.Is(err, ErrNoKey) {
			t.Fatal("text is private and public")
		}
	})
}
