package dcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"hash"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"mailcrypt/internal/sha256loop"
)

type mode int

const (
	modeGCM mode = iota
	modeChaCha
	modeCBC
	modeCFB
	modeCTR
)

// A cipherInfo is a symmetric cipher under Dovecot's name for it.
type cipherInfo struct {
	name    string
	oid     asn1.ObjectIdentifier // nil where none exists: CTR cannot stand in a version 2 header
	keySize int
	mode    mode
}

// ciphers is constant. The OIDs are NIST's (2.16.840.1.101.3.4.1) and RFC 8103's.
var ciphers = []cipherInfo{
	{"aes-256-gcm", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 46}, 32, modeGCM},
	{"aes-192-gcm", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 26}, 24, modeGCM},
	{"aes-128-gcm", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 6}, 16, modeGCM},
	{"chacha20-poly1305", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 18}, 32, modeChaCha},
	{"aes-256-cbc", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, 32, modeCBC},
	{"aes-192-cbc", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24, modeCBC},
	{"aes-128-cbc", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16, modeCBC},
	{"aes-256-cfb", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 44}, 32, modeCFB},
	{"aes-192-cfb", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 24}, 24, modeCFB},
	{"aes-128-cfb", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 4}, 16, modeCFB},
	{"aes-256-ctr", nil, 32, modeCTR},
	{"aes-192-ctr", nil, 24, modeCTR},
	{"aes-128-ctr", nil, 16, modeCTR},
}

func (c *cipherInfo) aead() bool { return c.mode == modeGCM || c.mode == modeChaCha }

func (c *cipherInfo) ivSize() int {
	if c.aead() {
		return 12
	}
	return aes.BlockSize
}

// cipherByName matches without regard to case, as Dovecot does.
func cipherByName(name string) (*cipherInfo, error) {
	for i := range ciphers {
		if strings.EqualFold(ciphers[i].name, name) {
			return &ciphers[i], nil
		}
	}
	return nil, unsupported("cipher", name)
}

// unsupported quotes a name from outside, which may be long and hold anything.
func unsupported(kind, name string) error {
	if len(name) > 40 {
		name = name[:40]
	}
	return &UnsupportedError{What: kind + " " + strings.ToValidUTF8(strings.Map(printable, name), "?")}
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// A digestInfo is a hash under Dovecot's name for it.
type digestInfo struct {
	name string
	oid  asn1.ObjectIdentifier
	size int
	new  func() hash.Hash
}

// digests is constant. sha224 is left out, for Dovecot does not have it. Dovecot 2.3.19
// reads sha3 but its settings cannot name it.
var digests = []digestInfo{
	{"sha256", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, sha256.Size, sha256.New},
	{"sha384", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, sha512.Size384, sha512.New384},
	{"sha512", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, sha512.Size, sha512.New},
	{"sha1", asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, sha1.Size, sha1.New},
	{"md5", asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}, md5.Size, md5.New},
	{"sha3-256", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}, 32, func() hash.Hash { return sha3.New256() }},
	{"sha3-512", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}, 64, func() hash.Hash { return sha3.New512() }},
}

func digestByName(name string) (*digestInfo, error) {
	for i := range digests {
		if strings.EqualFold(digests[i].name, name) {
			return &digests[i], nil
		}
	}
	return nil, unsupported("digest", name)
}

// derive is PBKDF2 (RFC 8018 section 5.2).
func (d *digestInfo) derive(password, salt []byte, rounds, size int) []byte {
	if d.name == "sha256" {
		return sha256loop.PBKDF2(password, salt, rounds, size)
	}
	return sha256loop.Generic(d.new, password, salt, rounds, size)
}

// errUnwrap is the one reason for ciphertext that does not open: padding, length or
// tag. Callers turn it into the error of their layer.
var errUnwrap = errors.New("dcrypt: does not decrypt")

// open decrypts a short text, such as a wrapped key, into a new slice. The key has
// keySize octets, the IV ivSize.
func (c *cipherInfo) open(key, iv, aad, text []byte) ([]byte, error) {
	if c.mode == modeChaCha {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			return nil, errUnwrap
		}
		return openAEAD(a, iv, aad, text)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errUnwrap
	}
	out := append([]byte(nil), text...)
	switch c.mode {
	case modeGCM:
		a, err := cipher.NewGCM(block)
		if err != nil {
			return nil, errUnwrap
		}
		return openAEAD(a, iv, aad, text)
	case modeCBC:
		if len(out)%aes.BlockSize != 0 || len(out) == 0 {
			return nil, errUnwrap
		}
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, out)
		return unpad(out)
	case modeCFB:
		decryptCFB(block, iv, out)
	case modeCTR:
		cipher.NewCTR(block, iv).XORKeyStream(out, out)
	}
	return out, nil
}

func openAEAD(a cipher.AEAD, nonce, aad, text []byte) ([]byte, error) {
	out, err := a.Open(nil, nonce, text, aad)
	if err != nil {
		return nil, errUnwrap
	}
	return out, nil
}

// seal is the reverse of open, for the modes that Dovecot writes keys with.
func (c *cipherInfo) seal(key, iv, text []byte) ([]byte, error) {
	if c.aead() {
		return nil, &UnsupportedError{What: "cipher " + c.name + " for a key"}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), text...)
	switch c.mode {
	case modeCBC:
		out = pad(out)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, out)
	case modeCFB:
		prev := append([]byte(nil), iv...)
		encryptCFB(block, prev, out)
	case modeCTR:
		cipher.NewCTR(block, iv).XORKeyStream(out, out)
	}
	return out, nil
}

// pad appends PKCS#7 padding (RFC 5652 section 6.3).
func pad(b []byte) []byte {
	n := aes.BlockSize - len(b)%aes.BlockSize
	for range n {
		b = append(b, byte(n))
	}
	return b
}

// unpad removes PKCS#7 padding. Its timing tells where the padding is wrong; nobody
// can put more than one question about one stored text.
func unpad(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errUnwrap
	}
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) {
		return nil, errUnwrap
	}
	for _, p := range b[len(b)-n:] {
		if int(p) != n {
			return nil, errUnwrap
		}
	}
	return b[:len(b)-n], nil
}
