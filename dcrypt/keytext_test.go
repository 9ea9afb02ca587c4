package dcrypt

import (
	"bytes"
	"crypto/ecdh"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"

	"mailcrypt/internal/secret"
)

var testRSA = sync.OnceValue(func() *PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	k, err := newPrivateRSA(key)
	if err != nil {
		panic(err)
	}
	return k
})

func TestInspect(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, tt := range []struct {
		text string
		want KeyInfo
		ok   bool
	}{
		{k1Public, KeyInfo{Format: FormatV2, ID: k1ID}, true},
		{k1Text, KeyInfo{Format: FormatV2, Private: true, ID: k1ID}, true},
		{k1Password, KeyInfo{Format: FormatV2, Private: true, Protection: ByPassword, ID: k1ID, Cipher: "aes-256-ctr", Hash: "sha256", Rounds: 2048, SaltLen: 8}, true},
		{"2:o:1:c:0011:h:7:x:p:" + id + ":i", KeyInfo{Format: FormatV2, Private: true, Protection: ByKey, Protector: id, ID: "i", Cipher: "c", Hash: "h", Rounds: 7, SaltLen: 2}, true},
		{k1V1Public, KeyInfo{Format: FormatV1, ID: k1OldID}, true},
		{k1V1, KeyInfo{Format: FormatV1, Private: true, ID: k1OldID}, true},
		{k1V1Password, KeyInfo{Format: FormatV1, Private: true, Protection: ByPassword, ID: k1OldID, Cipher: "aes-256-ctr", Hash: "sha256", Rounds: 16, SaltLen: 16}, true},
		{"1\t415\t1\tx\ty\tp\ti", KeyInfo{Format: FormatV1, Private: true, Protection: ByKey, Protector: "p", ID: "i", Cipher: "aes-256-ctr", Hash: "sha256"}, true},
		{k1PEM, KeyInfo{Format: FormatPEM, Private: true}, true},
		{"-----BEGIN PUBLIC KEY-----", KeyInfo{Format: FormatPEM}, true},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----", KeyInfo{Format: FormatPEM, Private: true, Protection: ByPassword}, true},
		{`{"kty":"EC","crv":"P-256"}`, KeyInfo{Format: FormatJWK}, true},
		{`{"kty":"OKP","d":""}`, KeyInfo{Format: FormatJWK, Private: true}, true},
		{"-----BEGIN EC PRIVATE KEY-----", KeyInfo{}, false},
		{"-----BEGIN RSA PRIVATE KEY-----", KeyInfo{}, false},
		{"-----BEGIN PUBLIC KEY", KeyInfo{}, false},
		{`{"kty":"oct"}`, KeyInfo{}, false},
		{`{"kty":`, KeyInfo{}, false},
		{"1:415:x:y", KeyInfo{}, false},
		{"2\tx\ty", KeyInfo{}, false},
		{"2:x", KeyInfo{}, false},
		{"2:x:0:y", KeyInfo{}, false},
		{"2:x:00:y:z", KeyInfo{}, false},
		{"2:x:2:y:z", KeyInfo{}, false},
		{"2:o:2:c:0011:h:-1:x:i", KeyInfo{}, false},
		{"2:o:2:c:0011:h:99999999999:x:i", KeyInfo{}, false},
		{"2:x:0:y:z:", KeyInfo{}, false},
		{"3:x:y", KeyInfo{}, false},
		{" " + k1Text, KeyInfo{}, false},
		{"", KeyInfo{}, false},
		{"2:" + strings.Repeat("0", maxKeyText) + ":x", KeyInfo{}, false},
	} {
		got, err := Inspect([]byte(tt.text))
		if got != tt.want || (err == nil) != tt.ok || err != nil && !typed(err) {
			t.Errorf("Inspect(%.50q) = %+v, %v", tt.text, got, err)
		}
	}
}

func TestParseRejections(t *testing.T) {
	pw := Opener{Password: secret.New([]byte("secret"))}
	var format *FormatError
	var unsupported *UnsupportedError
	hugeRSA := "2:" + strings.Repeat("0", 20) + ":" + k1ID
	for _, tt := range []struct {
		name, text string
		open       Opener
		want       any
	}{
		{"trailing newline", k1Text + "\n", Opener{}, ErrKeyID},
		{"trailing newline, sealed", k1Password + "\n", pw, ErrKeyID},
		{"upper-case ID", k1Text[:len(k1Text)-64] + strings.ToUpper(k1ID), Opener{}, ErrKeyID},
		{"ID of another key", k1Text[:len(k1Text)-64] + strings.Repeat("00", 32), Opener{}, ErrKeyID},
		{"scalar 0", "2:prime256v1:0:0000000100:" + k1ID, Opener{}, &format},
		{"scalar of no octets", "2:prime256v1:0:00000000:" + k1ID, Opener{}, &format},
		{"scalar too large", "2:prime256v1:0:0000002100" + strings.Repeat("ff", 32) + ":" + k1ID, Opener{}, &format},
		{"scalar far too large", "2:prime256v1:0:0000002201" + strings.Repeat("ff", 33) + ":" + k1ID, Opener{}, &format},
		{"MPI negative", "2:prime256v1:0:00000020" + strings.Repeat("ff", 32) + ":" + k1ID, Opener{}, &format},
		{"MPI length wrong", "2:prime256v1:0:0000000201:" + k1ID, Opener{}, &format},
		{"MPI with trailing octet", strings.Replace(k1Text, "f54568:", "f5456800:", 1), Opener{}, &format},
		{"not hex", strings.Replace(k1Text, "1f13", "1g13", 1), Opener{}, &format},
		{"odd hex", strings.Replace(k1Text, "1f13", "1f1", 1), Opener{}, &format},
		{"empty value", "2:prime256v1:0::" + k1ID, Opener{}, &format},
		{"Ed25519", "2:1.3.101.112:0:" + strings.Repeat("11", 32) + ":" + k1ID, Opener{}, &unsupported},
		{"curve unknown", "2:sect571r1:0:0000000101:" + k1ID, Opener{}, &unsupported},
		{"X25519 with MPI", "2:X25519:0:00000020" + strings.Repeat("11", 32) + ":" + k1ID, Opener{}, &format},
		{"RSA garbage", "2:1.2.840.113549.1.1.1:0:3003020100:" + k1ID, Opener{}, &format},
		{"public", k1Public, Opener{}, &format},
		{"public, short", hugeRSA, Opener{}, &format},
		{"cipher unknown", strings.Replace(k1Password, "aes-256-ctr", "rot13", 1), pw, &unsupported},
		{"cipher without a place for its tag", strings.Replace(k1Password, "aes-256-ctr", "aes-256-gcm", 1), pw, &unsupported},
		{"hash unknown", strings.Replace(k1Password, "sha256", "sha0", 1), pw, &unsupported},
		{"rounds 0", strings.Replace(k1Password, ":2048:", ":0:", 1), pw, &format},
		{"rounds 10000001", strings.Replace(k1Password, ":2048:", ":10000001:", 1), pw, &format},
		{"rounds of a key seal", strings.Replace(folderSealed, ":2048:", ":100001:", 1), pw, &format},
		{"ciphertext cut", strings.Replace(k1Password, "9b5a:", ":", 1), pw, ErrPassword},
		{"cbc of no blocks", strings.Replace(k1Password, "ctr", "cbc", 1), pw, ErrPassword},
		{"empty password", k1Password, Opener{Password: secret.New(nil)}, ErrPassword},
		{"no password", k1Password, Opener{}, ErrPasswordRequired},
		{"no keys", folderSealed, pw, ErrNoKey},
		{"protector ID broken", strings.Replace(folderSealed, ":9d11", ":9D11", 1), pw, &format},
		{"peer off the curve", strings.Replace(folderSealed, ":045520", ":045521", 1), sampleOpener(t), &format},
		{"v1 password not hex", k1V1Password, pw, ErrPassword},
		{"v1 wrong password", k1V1Password, Opener{Password: secret.New([]byte("00"))}, ErrPassword},
		{"v1 no password", k1V1Password, Opener{}, ErrPasswordRequired},
		{"v1 curve unknown", strings.Replace(k1V1, "415", "416", 1), Opener{}, &unsupported},
		{"v1 curve not a number", strings.Replace(k1V1, "415", "P", 1), Opener{}, &format},
		{"v1 ID wrong", k1V1[:len(k1V1)-1] + "1", Opener{}, ErrKeyID},
		{"v1 scalar 0", "1\t415\t0\t00\t" + k1OldID, Opener{}, &format},
		{"PEM broken", "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n", Opener{}, &format},
		{"PEM cut", k1PEM[:100], Opener{}, &format},
		{"PEM point of another key", strings.Replace(k1PEM, "RDiqs0", "RDiqs1", 1), Opener{}, &format},
		{"EC PRIVATE KEY", strings.ReplaceAll(k1PEM, "PRIVATE", "EC PRIVATE"), Opener{}, &unsupported},
		{"JWK without d", `{"kty":"EC"}`, Opener{}, &format},
		{"JWK curve", `{"kty":"EC","crv":"P-999","d":"AQ"}`, Opener{}, &unsupported},
		{"JWK Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"AQ","d":"AQ"}`, Opener{}, &unsupported},
		{"JWK RSA garbage", `{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`, Opener{}, &unsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParsePrivateKey([]byte(tt.text), tt.open)
			if k != nil {
				t.Error("a key came back")
			}
			if sentinel, ok := tt.want.(error); ok {
				if !errors.Is(err, sentinel) {
					t.Errorf("%v, want %v", err, sentinel)
				}
			} else if !errors.As(err, tt.want) {
				t.Errorf("%v, want %T", err, tt.want)
			}
		})
	}
}

func sampleOpener(t *testing.T) Opener {
	return Opener{Keys: KeyList{mustPrivate(t, userSealed, Opener{Password: secret.New([]byte("secret"))})}}
}

func TestParsePublicRejections(t *testing.T) {
	for _, text := range []string{
		k1Text, k1PEM, k1Public + "\n", k1Public[:len(k1Public)-1] + "f", k1V1Public[:len(k1V1Public)-1] + "f",
		strings.Replace(k1Public, "0002438a", "0002438b", 1), strings.Replace(k1Public, "2:30", "2:31", 1),
		"2::" + k1ID, "2:zz:" + k1ID, `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`,
		`{"kty":"RSA","n":"AQ","e":"Ag"}`, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
	} {
		if k, err := ParsePublicKey([]byte(text)); k != nil || err == nil || !typed(err) {
			t.Errorf("ParsePublicKey(%.40q) = %v, %v", text, k, err)
		}
	}
}

func TestSeals(t *testing.T) {
	password := []byte("pass:word\x00ü")
	protectors := []*PrivateKey{testKeys()[Prime256v1], testKeys()[Secp521r1], testKeys()[X25519], testKeys()[X448]}
	all := []*PrivateKey{testRSA()}
	for _, k := range testKeys() {
		all = append(all, k)
	}
	for _, k := range all {
		for _, o := range []SealOptions{{Rounds: 2}, {Cipher: "aes-256-cbc", Hash: "sha512", Rounds: 5, SaltLen: 32},
			{Cipher: "AES-128-CTR", Hash: "sha1", Rounds: 1, SaltLen: 8}, {Cipher: "aes-192-cfb", Rounds: 3}} {
			text, err := SealPassword(k, password, o)
			if err != nil {
				t.Fatal(err)
			}
			got := mustPrivate(t, string(text), Opener{Password: secret.New(password)})
			if !bytes.Equal(got.Text(), k.Text()) {
				t.Fatalf("%v %+v: another key", k, o)
			}
			if _, err := ParsePrivateKey(text, Opener{Password: secret.New([]byte("pass"))}); !errors.Is(err, ErrPassword) {
				t.Fatalf("%v %+v, wrong password: %v", k, o, err)
			}
		}
		for _, p := range protectors {
			text, err := SealKey(k, p.Public(), SealOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := mustPrivate(t, string(text), Opener{Keys: KeyList{p}})
			if !bytes.Equal(got.Text(), k.Text()) {
				t.Fatalf("%v to %v: another key", k, p)
			}
			info, err := Inspect(text)
			if want := (KeyInfo{FormatV2, true, ByKey, p.ID().String(), k.ID().String(), "aes-256-ctr", "sha256", 1, 16}); err != nil || info != want {
				t.Fatalf("Inspect = %+v, %v; want %+v", info, err, want)
			}
		}
	}
}

func TestSealDefaultsAndErrors(t *testing.T) {
	k := testKeys()[Prime256v1]
	text, err := SealPassword(k, nil, SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(text)
	if want := (KeyInfo{FormatV2, true, ByPassword, "", k.ID().String(), "aes-256-ctr", "sha512", 210_000, 16}); err != nil || info != want {
		t.Errorf("Inspect = %+v, %v; want %+v", info, err, want)
	}
	if got := mustPrivate(t, string(text), Opener{Password: secret.New([]byte{})}); got.ID() != k.ID() {
		t.Error("empty password: another key")
	}
	again, err := SealPassword(k, nil, SealOptions{})
	if err != nil || bytes.Equal(text, again) {
		t.Errorf("second seal: %v, or the same salt", err)
	}
	for _, o := range []SealOptions{{Cipher: "aes-256-gcm"}, {Cipher: "x"}, {Hash: "x"}, {Rounds: -1},
		{Rounds: maxPasswordRounds + 1}, {SaltLen: 7}, {SaltLen: maxSaltLen + 1}} {
		if _, err := SealPassword(k, []byte("x"), o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
	if _, err := SealKey(k, k.Public(), SealOptions{Rounds: maxRounds + 1}); err == nil {
		t.Error("too many rounds accepted")
	}
	var u *UnsupportedError
	if _, err := SealKey(k, testRSA().Public(), SealOptions{}); !errors.As(err, &u) {
		t.Errorf("RSA protector: %v", err)
	}
}

// TestOpenRSASeal builds by hand what SealKey refuses to write.
func TestOpenRSASeal(t *testing.T) {
	k, protector := testKeys()[Secp384r1], testRSA()
	s, err := makeSeal(SealOptions{Cipher: "aes-256-ctr", Hash: "sha256", Rounds: 2, SaltLen: 8}, ByKey)
	if err != nil {
		t.Fatal(err)
	}
	shared := fill(9, 16)
	fields, err := s.sealed(k, shared)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := encryptOAEP(protector.Public(), shared)
	if err != nil {
		t.Fatal(err)
	}
	fields = append(fields, hexField(peer), []byte(protector.ID().String()))
	text := appendV2(k.pub, "1", fields...)
	if got := mustPrivate(t, string(text), Opener{Keys: KeyList{protector}}); got.ID() != k.ID() {
		t.Error("another key")
	}
}

func TestSealedToVersion1Key(t *testing.T) {
	protector := testKeys()[Secp521r1]
	old, _ := protector.OldID()
	k := testKeys()[Secp521r1]
	ephemeral, shared, err := protector.Public().agreeEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := cryptSeed(shared, k.scalar.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	kOld, _ := k.OldID()
	for _, protectorID := range []KeyID{old, protector.ID()} {
		text := fmt.Sprintf("1\t716\t1\t%X\t%x\t%s\t%s", scalar, ephemeral, protectorID, kOld)
		if got := mustPrivate(t, text, Opener{Keys: KeyList{protector}}); got.ID() != k.ID() {
			t.Error("another key")
		}
	}
}

func TestTextRoundTrips(t *testing.T) {
	all := KeyList{testRSA()}
	for _, k := range testKeys() {
		all = append(all, k)
	}
	for _, k := range all {
		for _, text := range []string{string(k.Text()), string(k.PEM())} {
			if got := mustPrivate(t, text, Opener{}); string(got.Text()) != string(k.Text()) || string(got.PEM()) != string(k.PEM()) {
				t.Errorf("%v: another key", k)
			}
		}
		for _, text := range []string{k.Public().Text(), string(k.Public().PEM())} {
			if got := mustPublic(t, text); !got.Equal(k.Public()) || got.Text() != k.Public().Text() {
				t.Errorf("%v: another public key", k)
			}
		}
		if got, err := all.PrivateKey(k.ID()); got != k || err != nil {
			t.Errorf("not found by its ID: %v", err)
		}
		if old, ok := k.OldID(); ok {
			if got, err := all.PrivateKey(old); got != k || err != nil {
				t.Errorf("not found by its old ID: %v", err)
			}
		}
	}
}

// TestStandardLibraryAgrees compares with crypto/x509 where that knows the curve.
func TestStandardLibraryAgrees(t *testing.T) {
	for _, c := range []Curve{Prime256v1, Secp384r1, Secp521r1, X25519} {
		k := testKeys()[c]
		block, _ := pem.Decode(k.PEM())
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(parsed)
		if err != nil || !bytes.Equal(der, block.Bytes) {
			t.Errorf("%s: PKCS#8 differs from the standard library's: %v", c, err)
		}
		block, _ = pem.Decode(k.Public().PEM())
		if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	want, err := pbkdf2.Key(digests[0].new, "secret", []byte("salt"), 77, 100)
	if got := digests[0].derive([]byte("secret"), []byte("salt"), 77, 100); err != nil || !bytes.Equal(got, want) {
		t.Errorf("derive = %x, want %x", got, want)
	}
}

func TestJWK(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	encode := func(k *PrivateKey, private bool) []byte {
		m := map[string]any{"kid": "label", "use": "enc"}
		if info := k.pub.info; info == nil {
			m["kty"], m["n"], m["e"] = "RSA", b64(k.rsa.N.Bytes()), b64(big.NewInt(int64(k.rsa.E)).Bytes())
			if private {
				m["d"], m["p"], m["q"] = b64(k.rsa.D.Bytes()), b64(k.rsa.Primes[0].Bytes()), b64(k.rsa.Primes[1].Bytes())
			}
		} else {
			m["kty"], m["crv"], m["x"] = "OKP", info.jwk, b64(k.pub.point)
			if !info.raw {
				m["kty"], m["x"], m["y"] = "EC", b64(k.pub.point[1:1+info.scalar]), b64(k.pub.point[1+info.scalar:])
			}
			if private {
				m["d"] = b64(k.scalar.Bytes())
			}
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	keys := KeyList{testRSA()}
	for _, c := range []Curve{Prime256v1, Secp384r1, Secp521r1, Secp256k1, X25519, X448} {
		keys = append(keys, testKeys()[c])
	}
	for i, k := range keys {
		if got := mustPrivate(t, string(encode(k, true)), Opener{}); got.ID() != k.ID() {
			t.Errorf("%v: another key", k)
		}
		if got := mustPublic(t, string(encode(k, false))); got.ID() != k.ID() {
			t.Errorf("%v: another public key", k)
		}
		if _, err := ParsePublicKey(encode(k, true)); err == nil {
			t.Errorf("%v: private JWK taken for a public key", k)
		}
		if i == 0 {
			continue
		}
		other := make([]byte, k.pub.info.scalar)
		other[len(other)-1] = 9
		mixed := bytes.Replace(encode(k, true), []byte(b64(k.scalar.Bytes())), []byte(b64(other)), 1)
		if _, err := ParsePrivateKey(mixed, Opener{}); err == nil {
			t.Errorf("%v: private value of another key accepted", k)
		}
	}
}

func TestDecodeKeySetting(t *testing.T) {
	wrapped := base64.StdEncoding.EncodeToString([]byte(k1PEM))
	lines := ""
	for at := 0; at < len(wrapped); at += 64 {
		lines += wrapped[at:min(at+64, len(wrapped))] + "\n"
	}
	for _, tt := range []struct{ in, want string }{
		{k1PEM, k1PEM}, {k1Text, k1Text}, {k1V1, k1V1}, {wrapped, k1PEM}, {lines, k1PEM},
		{strings.ReplaceAll(lines, "\n", "\r\n"), k1PEM},
		{base64.StdEncoding.EncodeToString([]byte(k1Text)), k1Text},
		{base64.StdEncoding.EncodeToString([]byte("hello")), base64.StdEncoding.EncodeToString([]byte("hello"))},
		{"%%%", "%%%"}, {"", ""},
	} {
		if got := string(DecodeKeySetting([]byte(tt.in))); got != tt.want {
			t.Errorf("DecodeKeySetting(%.30q) = %.30q, want %.30q", tt.in, got, tt.want)
		}
	}
}

func TestDestroy(t *testing.T) {
	for _, c := range curves {
		k, err := generateKey(c.curve)
		if err != nil {
			t.Fatal(err)
		}
		stream := encrypt(t, k.Public(), WriterOptions{}, []byte("x"), 1)
		scalar := k.scalar.Bytes()
		k.Destroy()
		k.Destroy()
		if !bytes.Equal(scalar, make([]byte, len(scalar))) {
			t.Errorf("%s: the scalar is still there", c.curve)
		}
		if k.Text() != nil || k.PEM() != nil {
			t.Errorf("%s: a destroyed key has a text", c.curve)
		}
		if _, err := readStream(stream, KeyList{k}); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: Open = %v, want ErrNoKey", c.curve, err)
		}
		if _, err := SealPassword(k, []byte("x"), SealOptions{Rounds: 1}); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: SealPassword = %v, want ErrNoKey", c.curve, err)
		}
		if k.ID() != k.Public().ID() || k.ID().IsZero() {
			t.Errorf("%s: the ID is gone", c.curve)
		}
	}
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	for _, k := range []*PrivateKey{testKeys()[Prime256v1], testKeys()[X448], testRSA()} {
		out := ""
		holder := struct {
			K *PrivateKey
			l KeyList
		}{k, KeyList{k}}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			out += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, holder.l)
		}
		log.Info("key", "key", k)
		value, err := k.value()
		if err != nil {
			t.Fatal(err)
		}
		value = value[len(value)-16:]
		for _, form := range []string{fmt.Sprintf("%x", value), strings.Trim(fmt.Sprint(value), "[]"), string(value)} {
			if strings.Contains(strings.ToLower(out+logged.String()), form) {
				t.Errorf("%v: secret printed", k)
			}
		}
	}
}

func TestCurvesAndIDs(t *testing.T) {
	for _, c := range curves {
		if got, err := ParseCurve(string(c.curve)); got != c.curve || err != nil {
			t.Errorf("ParseCurve(%q) = %q, %v", c.curve, got, err)
		}
	}
	var u *UnsupportedError
	for _, name := range []string{"", "P-256", "x25519", "secp521r1x", "prime256V1", "sect571r1", strings.Repeat("x", 1000)} {
		if _, err := ParseCurve(name); !errors.As(err, &u) || len(err.Error()) > 200 {
			t.Errorf("ParseCurve(%.20q): %v", name, err)
		}
		if _, err := GenerateKey(Curve(name)); !errors.As(err, &u) {
			t.Errorf("GenerateKey(%.20q): %v", name, err)
		}
	}
	for _, c := range []Curve{Secp256k1, BrainpoolP384r1, Secp224r1} {
		if _, err := GenerateKey(c); !errors.As(err, &u) {
			t.Errorf("GenerateKey(%s), whose arithmetic is not constant-time: %v", c, err)
		}
	}
	id, err := ParseKeyID(k1ID)
	if err != nil || id.String() != k1ID {
		t.Errorf("ParseKeyID = %v, %v", id, err)
	}
	for _, bad := range []string{"", k1ID[1:], k1ID + "0", strings.ToUpper(k1ID), strings.Replace(k1ID, "d", "g", 1)} {
		if _, err := ParseKeyID(bad); err == nil {
			t.Errorf("ParseKeyID(%q) succeeded", bad)
		}
	}
	if _, ok := testRSA().OldID(); ok {
		t.Error("an RSA key has an old ID")
	}
	if _, ok := testRSA().Public().Curve(); ok {
		t.Error("an RSA key has a curve")
	}
	// The scalar of a key may be short; it must come back in full width.
	one := append(bytes.Repeat([]byte{0}, 31), 1)
	k, err := newPrivate(&curves[0], one, nil)
	if err != nil {
		t.Fatal(err)
	}
	std, err := ecdh.P256().NewPrivateKey(one)
	if err != nil || !bytes.Equal(std.PublicKey().Bytes(), k.pub.point) {
		t.Errorf("scalar 1: %v", err)
	}
	if want := "2:1.2.840.10045.3.1.7:0:0000000101:" + k.ID().String(); string(k.Text()) != want {
		t.Errorf("text of scalar 1 = %s", hex.EncodeToString(k.Text()))
	}
}
