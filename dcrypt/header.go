package dcrypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

// magic begins every encrypted stream (Dovecot: IOSTREAM_CRYPT_MAGIC).
const magic = "CRYPTED\x03\x07"

// MagicLen is how many octets IsEncrypted needs.
const MagicLen = len(magic)

// Sizes of headers. Dovecot reads up to 8,175 octets; 255 recipients with large keys
// stay below maxHeader.
const (
	minHeaderV1 = MagicLen + 1 + 2
	minHeaderV2 = MagicLen + 1 + 4 + 4
	maxHeader   = 1 << 18
)

// The flags of a version 2 header.
const (
	flagHMAC    = 0x01
	flagAEAD    = 0x02
	flagNone    = 0x04
	flagSameAlg = 0x10 // Dovecot 2.4: recipients are wrapped with the body's cipher
)

// The key types of recipient blocks.
const (
	recipientRSA = 1
	recipientEC  = 2
)

// tailLen is the length of the additional data or HMAC key in the key data.
const tailLen = 16

// IsEncrypted reports whether a stored object that begins with prefix is an encrypted
// stream. Fewer than MagicLen octets are plaintext, as for Dovecot.
func IsEncrypted(prefix []byte) bool { return bytes.HasPrefix(prefix, []byte(magic)) }

// Integrity says what guards the body of a stream.
type Integrity int

// The kinds of integrity.
const (
	None Integrity = iota // nothing: version 1, and version 2 by request
	HMAC                  // HMAC over the ciphertext
	AEAD                  // authenticated encryption
)

// String returns "none", "hmac" or "aead".
func (i Integrity) String() string { return nameOf(int(i), "none", "hmac", "aead") }

// A Recipient is one key that a stream is encrypted to.
type Recipient struct {
	RSA bool
	ID  KeyID // version 2 ID, or the old ID in a version 1 stream

	ephemeral []byte // R, as stored; empty for RSA
	wrapped   []byte // E, the encrypted key data
}

// A Header is what a stream says about itself. Nothing of it is authenticated, except
// that a stream with integrity does not open if what matters was changed.
type Header struct {
	Version    int
	Cipher     string // Dovecot's name, such as "aes-256-gcm"
	Digest     string
	Integrity  Integrity
	Rounds     int  // of the recipients' key derivation; 0 in version 1
	SameCipher bool // recipients are wrapped with the body's cipher (2.4 readers only)
	Recipients []Recipient
	Size       int64 // octets of the header: where the ciphertext begins

	cipher *cipherInfo
	digest *digestInfo
	hash   []byte // of the key data
	raw    []byte // as it was read
}

// trailer is how many octets follow the ciphertext.
func (h *Header) trailer() int {
	switch h.Integrity {
	case AEAD:
		return 16
	case HMAC:
		return h.digest.size
	}
	return 0
}

// ReadHeader reads the header of the stream that fills the first size octets of r.
// Errors are *FormatError and *UnsupportedError, wrap ErrTruncated, or come from r.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	// One read is enough for all but RSA and several recipients.
	b := make([]byte, max(0, min(size, 512)))
	if err := readFull(r, b, 0); err != nil {
		return nil, err
	}
	n, err := headerLen(b, size)
	if err != nil {
		return nil, err
	}
	if n > len(b) {
		have := len(b)
		b = append(b, make([]byte, n-have)...)
		if err := readFull(r, b[have:], int64(have)); err != nil {
			return nil, err
		}
	}
	return parseHeader(b[:n])
}

// readFull fills b from off. An end before that is ErrTruncated.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	for done := 0; ; {
		n, err := r.ReadAt(b[done:], off+int64(done))
		switch done += n; {
		case done == len(b):
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil && n == 0:
			return ErrTruncated
		case err != nil:
			return fmt.Errorf("dcrypt: reading stream at %d: %w", off+int64(done), err)
		}
	}
}

// headerLen returns the length of the header that begins with b, of an object of size
// octets.
func headerLen(b []byte, size int64) (int, error) {
	if !IsEncrypted(b) {
		return 0, badHeader("not an encrypted stream")
	}
	if size < int64(minHeaderV1) {
		return 0, ErrTruncated
	}
	var n int64
	switch version := b[MagicLen]; version {
	case 1:
		n = int64(minHeaderV1) + int64(binary.BigEndian.Uint16(b[MagicLen+1:]))
	case 2:
		if size < int64(minHeaderV2) {
			return 0, ErrTruncated
		}
		n = int64(binary.BigEndian.Uint32(b[MagicLen+5:]))
		if n < int64(minHeaderV2) {
			return 0, badHeader("header length is too small")
		}
	default:
		return 0, &UnsupportedError{What: fmt.Sprintf("stream version %d", version)}
	}
	if n > size {
		return 0, ErrTruncated
	}
	if n > maxHeader {
		return 0, badHeader("header is too large")
	}
	return int(n), nil
}

// parseHeader takes the whole header, whose length headerLen has checked.
func parseHeader(b []byte) (*Header, error) {
	var h *Header
	var err error
	if b[MagicLen] == 1 {
		h, err = parseV1(b[minHeaderV1:])
	} else {
		h, err = parseV2(b[minHeaderV2:], binary.BigEndian.Uint32(b[MagicLen+1:]))
	}
	if err != nil {
		return nil, err
	}
	h.Size, h.raw = int64(len(b)), b
	h.Cipher, h.Digest = h.cipher.name, h.digest.name
	return h, nil
}

// parseV1 reads the key data of version 1. Old writers left two zero octets behind the
// fourth field.
func parseV1(b []byte) (*Header, error) {
	s := cryptobyte.String(b)
	var fields [4]cryptobyte.String
	for i := range fields {
		if !s.ReadUint16LengthPrefixed(&fields[i]) || len(fields[i]) == 0 {
			return nil, badHeader("field is empty or runs past the key data")
		}
	}
	point, id, hash, seed := fields[0], fields[1], fields[2], fields[3]
	if len(id) != len(KeyID{}) || len(hash) != sha256.Size || len(seed) != sha256.Size {
		return nil, badHeader("field has the wrong length")
	}
	h := &Header{Version: 1, hash: bytes.Clone(hash)}
	h.cipher, _ = cipherByName("aes-256-ctr")
	h.digest, _ = digestByName("sha256")
	h.Recipients = []Recipient{{ID: KeyID(id), ephemeral: bytes.Clone(point), wrapped: bytes.Clone(seed)}}
	return h, nil
}

// parseV2 reads a version 2 header behind its length.
func parseV2(b []byte, flags uint32) (*Header, error) {
	h := &Header{Version: 2, SameCipher: flags&flagSameAlg != 0}
	switch { // Dovecot's order
	case flags&flagHMAC != 0:
		h.Integrity = HMAC
	case flags&flagAEAD != 0:
		h.Integrity = AEAD
	}
	s := cryptobyte.String(b)
	if err := h.parseSuite(&s); err != nil {
		return nil, err
	}
	// The length of the key data is not looked at: Dovecot ignores its value, and the
	// header's length is the bound for everything.
	var rounds, keyData uint32
	var count uint8
	if !s.ReadUint32(&rounds) || !s.ReadUint32(&keyData) || !s.ReadUint8(&count) {
		return nil, badHeader("too short")
	}
	if rounds < 1 || rounds > maxRounds {
		return nil, badHeader("rounds not within 1 to 100000")
	}
	h.Rounds = int(rounds)
	if count == 0 {
		return nil, badHeader("no recipient")
	}
	for range count {
		r, err := parseRecipient(&s)
		if err != nil {
			return nil, err
		}
		h.Recipients = append(h.Recipients, r)
	}
	hash, ok := readLong(&s)
	if !ok {
		return nil, badHeader("key-data hash runs past the header")
	}
	// Dovecot 2.3 compares as much of the hash as there is, even none.
	if len(hash) != h.digest.size {
		return nil, badHeader("key-data hash has the wrong length")
	}
	h.hash = hash
	return h, nil // bytes that are left are padding
}

// parseSuite reads the two OIDs and checks that they fit the flags.
func (h *Header) parseSuite(s *cryptobyte.String) error {
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&oid) {
		return badHeader("bad cipher identifier")
	}
	for i := range ciphers {
		if ciphers[i].oid != nil && ciphers[i].oid.Equal(oid) {
			h.cipher = &ciphers[i]
		}
	}
	if h.cipher == nil {
		return &UnsupportedError{What: "cipher " + oid.String()}
	}
	if !s.ReadASN1ObjectIdentifier(&oid) {
		return badHeader("bad digest identifier")
	}
	for i := range digests {
		if digests[i].oid.Equal(oid) {
			h.digest = &digests[i]
		}
	}
	if h.digest == nil {
		return &UnsupportedError{What: "digest " + oid.String()}
	}
	if h.cipher.aead() != (h.Integrity == AEAD) {
		return badHeader("cipher does not fit the integrity flags")
	}
	return nil
}

func parseRecipient(s *cryptobyte.String) (Recipient, error) {
	var r Recipient
	var kind uint8
	if !s.ReadUint8(&kind) || !s.CopyBytes(r.ID[:]) {
		return r, badHeader("recipient runs past the header")
	}
	if kind != recipientRSA && kind != recipientEC {
		return r, &UnsupportedError{What: fmt.Sprintf("recipient key type %d", kind)}
	}
	r.RSA = kind == recipientRSA
	var ok bool
	if r.ephemeral, ok = readLong(s); ok {
		r.wrapped, ok = readLong(s)
	}
	if !ok {
		return r, badHeader("recipient runs past the header")
	}
	return r, nil
}

// readLong reads octets behind a length of four octets, as a copy.
func readLong(s *cryptobyte.String) ([]byte, bool) {
	var n uint32
	var out []byte
	if !s.ReadUint32(&n) || uint64(n) > uint64(len(*s)) || !s.ReadBytes(&out, int(n)) {
		return nil, false
	}
	return bytes.Clone(out), true
}
