package dcrypt

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"mailcrypt/internal/secret"
)

// Bounds of key texts. Dovecot 2.4 refuses fields of more than 32,768 hex digits.
const (
	maxKeyText  = 128 << 10
	maxHexField = 32768
	maxRounds   = 100_000 // of ECDH secrets, which have full entropy

	maxPasswordRounds = 10_000_000
)

// KeyFormat is the form of a key text.
type KeyFormat int

// The forms of key texts, see the package documentation.
const (
	FormatV1 KeyFormat = iota + 1 // Dovecot's first text form, fields between TABs
	FormatV2                      // Dovecot's second text form, fields between colons
	FormatPEM
	FormatJWK
)

// String returns "v1", "v2", "pem" or "jwk".
func (f KeyFormat) String() string { return nameOf(int(f)-1, "v1", "v2", "pem", "jwk") }

// Protection says what it takes to open a private key text.
type Protection int

// How private keys are protected. The numbers are ours, not those in the text.
const (
	Unprotected Protection = iota
	ByPassword             // by a password
	ByKey                  // by another key pair
)

// String returns "none", "password" or "key".
func (p Protection) String() string { return nameOf(int(p), "none", "password", "key") }

func nameOf(i int, names ...string) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

// KeyInfo is what a key text says about itself without being opened. Nothing of it is
// authenticated.
type KeyInfo struct {
	Format     KeyFormat
	Private    bool
	Protection Protection
	Protector  string // ID of the key that opens it, as stored; ByKey only
	ID         string // ID of the key, as stored; empty for PEM and JWK
	Cipher     string // of the seal; empty for PEM
	Hash       string // of the seal's key derivation; empty for PEM
	Rounds     int    // of the seal's key derivation; 0 for PEM and version 1 keys sealed ByKey
	SaltLen    int    // octets
}

// An Opener is what a sealed private key may be opened with. The zero value opens
// unprotected keys.
type Opener struct {
	Password secret.Bytes // zero if there is none; an empty password is a password
	Keys     KeyFinder    // nil if there are none
	// Known spares the multiplication by which a key's id is computed where the same key was
	// opened with it before; nil computes.
	Known *Known
}

// A KeyFinder returns the private key with the given ID, or an error wrapping
// [ErrNoKey]. The ID is a version 2 ID, or an old one where a version 1 stream or key
// text asks. Any other error ends the search of a reader with several recipients.
type KeyFinder interface {
	PrivateKey(id KeyID) (*PrivateKey, error)
}

// A KeyDataKeeper is a KeyFinder that remembers the key data of streams, so that the agreement
// on a curve is not paid for again. It must keep them as safe as the private key that opens
// them. Only streams with AEAD are kept: their tag tells right key data from wrong ones.
type KeyDataKeeper interface {
	KeyFinder
	// KeyData returns the key data of the stream that has this header, which the caller
	// clears; nil where they are not kept.
	KeyData(header []byte) []byte
	// PutKeyData is told the key data of a stream that the key with this ID opens. It
	// retains neither slice.
	PutKeyData(header []byte, key KeyID, kd []byte)
}

// KeyList is a KeyFinder over some keys, under both of their IDs.
type KeyList []*PrivateKey

// PrivateKey implements KeyFinder.
func (l KeyList) PrivateKey(id KeyID) (*PrivateKey, error) {
	for _, k := range l {
		if old, ok := k.OldID(); k.ID() == id || ok && old == id {
			return k, nil
		}
	}
	return nil, ErrNoKey
}

// keyFields are the fields of a Dovecot key text.
type keyFields [][]byte

func (f keyFields) last() []byte { return f[len(f)-1] }

// splitKeyText splits at every colon and every TAB, whichever version it is.
func splitKeyText(text []byte) keyFields {
	if bytes.IndexByte(text, '\t') < 0 { // of version 2, by far the most
		return bytes.Split(text, []byte{':'})
	}
	var fields keyFields
	for {
		i := bytes.IndexAny(text, ":\t")
		if i < 0 {
			return append(fields, text)
		}
		fields = append(fields, text[:i])
		text = text[i+1:]
	}
}

// Inspect tells the form and the protection of a key text. Only the outline is looked
// at, so a text that it accepts may still not parse. The error is a *FormatError for
// what is no key text and an *UnsupportedError for a form that is refused.
func Inspect(text []byte) (KeyInfo, error) {
	if len(text) > maxKeyText {
		return KeyInfo{}, badKey("too long")
	}
	// The order of the tests is Dovecot's (dcrypt_openssl_key_string_get_info).
	switch {
	case bytes.HasPrefix(text, []byte(pemBegin)):
		return inspectPEM(text)
	case bytes.HasPrefix(text, []byte("{")):
		return inspectJWK(text)
	case bytes.HasPrefix(text, []byte("1:")), bytes.HasPrefix(text, []byte("2\t")):
		return KeyInfo{}, badKey("wrong separator for its version")
	}
	fields := splitKeyText(text)
	info := KeyInfo{ID: string(fields.last())}
	var err error
	switch string(fields[0]) {
	case "1":
		info.Format = FormatV1
		err = info.inspectV1(fields)
	case "2":
		info.Format = FormatV2
		err = info.inspectV2(fields)
	default:
		err = badKey("not in a known form")
	}
	if err != nil {
		return KeyInfo{}, err
	}
	return info, nil
}

// kind is the third field of a private key together with the number of fields.
func (f keyFields) kind(text string, n int) bool { return len(f) == n && string(f[2]) == text }

func (info *KeyInfo) inspectV1(f keyFields) error {
	switch {
	case len(f) == 4:
		return nil
	case f.kind("0", 5):
	case f.kind("2", 6):
		info.Protection = ByPassword
		info.Rounds, info.SaltLen = rounds1, len(f[4])/2
	case f.kind("1", 7):
		info.Protection, info.Protector = ByKey, string(f[5])
	default:
		return badKey("wrong number of fields")
	}
	info.Private = true
	if info.Protection != Unprotected {
		info.Cipher, info.Hash = "aes-256-ctr", "sha256"
	}
	return nil
}

func (info *KeyInfo) inspectV2(f keyFields) error {
	switch {
	case len(f) == 3:
		return nil
	case f.kind("0", 5):
		info.Private = true
		return nil
	case f.kind("2", 9):
		info.Protection = ByPassword
	case f.kind("1", 11):
		info.Protection, info.Protector = ByKey, string(f[9])
	default:
		return badKey("wrong number of fields")
	}
	info.Private = true
	info.Cipher, info.SaltLen, info.Hash = string(f[3]), len(f[4])/2, string(f[5])
	rounds, err := strconv.ParseUint(string(f[6]), 10, 31)
	if err != nil {
		return badKey("rounds are not a number")
	}
	info.Rounds = int(rounds)
	return nil
}

// ParsePublicKey parses a public key in any form. Errors are *FormatError,
// *UnsupportedError, or wrap ErrKeyID. A private key is refused.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	info, err := Inspect(text)
	if err != nil {
		return nil, err
	}
	if info.Private {
		return nil, badKey("private key where a public key is expected")
	}
	switch info.Format {
	case FormatPEM:
		return parsePublicPEM(text)
	case FormatJWK:
		return parsePublicJWK(text)
	case FormatV1:
		return parsePublicV1(splitKeyText(text))
	default:
		return parsePublicV2(splitKeyText(text))
	}
}

// ParsePrivateKey parses a private key in any form and opens its seal. The key's ID is
// computed and compared with the one in the text.
//
// Errors are *FormatError and *UnsupportedError, or wrap ErrPasswordRequired,
// ErrPassword, ErrNoKey (the protecting key is not at hand), ErrKeyID, or an error of
// the KeyFinder. The caller destroys the key.
func ParsePrivateKey(text []byte, open Opener) (*PrivateKey, error) {
	info, err := Inspect(text)
	if err != nil {
		return nil, err
	}
	if !info.Private {
		return nil, badKey("public key where a private key is expected")
	}
	k, err := parsePrivate(text, info, open)
	if err == nil && k.agree != nil { // else it was known
		open.Known.learn(k)
	}
	return k, err
}

func parsePrivate(text []byte, info KeyInfo, open Opener) (*PrivateKey, error) {
	switch info.Format {
	case FormatPEM:
		return parsePrivatePEM(text, info, open)
	case FormatJWK:
		return parsePrivateJWK(text, open.Known)
	case FormatV1:
		return parsePrivateV1(splitKeyText(text), info, open)
	default:
		return parsePrivateV2(splitKeyText(text), info, open)
	}
}

// DecodeKeySetting returns the key text in the value of a setting, which may be wrapped
// in base64 with line breaks. A value that holds no key text either way is returned as
// it is. Attribute values are never wrapped and must not pass through here.
func DecodeKeySetting(value []byte) []byte {
	if _, err := Inspect(value); err == nil {
		return value
	}
	if len(value) > 2*maxKeyText {
		return value
	}
	// The decoder skips line breaks itself; blanks around come from configuration files.
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	n, err := base64.StdEncoding.Decode(decoded, bytes.TrimSpace(value))
	if err != nil {
		return value
	}
	if _, err := Inspect(decoded[:n]); err != nil {
		return value
	}
	return decoded[:n]
}

// hexField encodes octets as a field.
func hexField(b []byte) []byte { return hex.AppendEncode(nil, b) }

// unhexField decodes a field that must not be empty.
func unhexField(f []byte) ([]byte, error) {
	if len(f) == 0 || len(f) > maxHexField {
		return nil, badKey("field is empty or too long")
	}
	b, err := hex.AppendDecode(nil, f)
	if err != nil {
		return nil, badKey("field is not hex")
	}
	return b, nil
}

// isID reports whether a field is an ID in the form that Dovecot compares: lower case.
func isID(f []byte) bool {
	_, err := ParseKeyID(string(f))
	return err == nil
}

// findKey asks for a key by the ID in a field.
func findKey(keys KeyFinder, field []byte) (*PrivateKey, error) {
	id, err := ParseKeyID(string(field))
	if err != nil {
		return nil, badKey("protecting key has a bad ID")
	}
	if keys == nil {
		return nil, ErrNoKey
	}
	k, err := keys.PrivateKey(id)
	if err == nil && k == nil {
		return nil, ErrNoKey
	}
	return k, err
}
