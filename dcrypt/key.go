package dcrypt

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"mailcrypt/internal/secret"
)

// Bounds of RSA keys. Below, OAEP has no room; above, one message could cost seconds.
const (
	minRSABits = 1024
	maxRSABits = 8192
)

// A PublicKey encrypts messages and seals private keys. It does not change and may be
// used concurrently.
type PublicKey struct {
	info  *curveInfo // nil for RSA
	point []byte     // uncompressed, or raw
	rsa   *rsa.PublicKey
	id    KeyID
	oldID KeyID
	hot   hotKey
	ahead aheadSlot
}

// newPublic takes a point that decodePoint or private returned.
func newPublic(info *curveInfo, point []byte) *PublicKey {
	k := &PublicKey{info: info, point: point}
	k.id, k.oldID = info.ids(info.compress(point))
	return k
}

// ids are both IDs of a public key: over the compressed form, whatever form it was read in.
func (c *curveInfo) ids(compressed []byte) (id, old KeyID) {
	return sha256.Sum256(marshalSPKI(c, compressed)), sha256.Sum256([]byte(strings.ToUpper(hex.EncodeToString(compressed))))
}

func newPublicRSA(key *rsa.PublicKey) (*PublicKey, error) {
	if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
		return nil, &UnsupportedError{What: fmt.Sprintf("RSA key of %d bits", n)}
	}
	k := &PublicKey{rsa: key}
	der, err := marshalSPKIRSA(key)
	if err != nil {
		return nil, badKey("RSA key cannot be encoded")
	}
	k.id = sha256.Sum256(der)
	return k, nil
}

// ID returns the version 2 ID, the name of the key in attributes and in the headers
// of version 2 streams.
func (k *PublicKey) ID() KeyID { return k.id }

// OldID returns the ID that version 1 streams and key texts use. An RSA key has none.
func (k *PublicKey) OldID() (KeyID, bool) { return k.oldID, k.info != nil }

// Curve returns the curve; false for an RSA key.
func (k *PublicKey) Curve() (Curve, bool) {
	if k.info == nil {
		return "", false
	}
	return k.info.curve, true
}

// Equal reports whether both are the same key.
func (k *PublicKey) Equal(other *PublicKey) bool {
	return other != nil && k.id == other.id
}

// Text returns the key in Dovecot's version 2 text form.
func (k *PublicKey) Text() string {
	return "2:" + hex.EncodeToString(k.spki(true)) + ":" + k.id.String()
}

// PEM returns the key as a PUBLIC KEY block with an uncompressed point, as Dovecot 2.3
// exports it and most other software wants it.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki(false)})
}

// spki returns the DER SubjectPublicKeyInfo.
func (k *PublicKey) spki(compressed bool) []byte {
	if k.info == nil {
		der, _ := marshalSPKIRSA(k.rsa) // newPublicRSA has encoded it before
		return der
	}
	if compressed {
		return marshalSPKI(k.info, k.info.compress(k.point))
	}
	return marshalSPKI(k.info, k.point)
}

// A PrivateKey opens what was encrypted to its public half. It may be used
// concurrently, also with Destroy. It does not print its secret.
type PrivateKey struct {
	pub *PublicKey

	known  *Known // that it was opened with; may be nil
	mu     sync.RWMutex
	scalar secret.Bytes // fixed width; unset for RSA and after Destroy
	agree  agreement    // nil before the first use where the point was known
	rsa    *rsa.PrivateKey
}

// newPrivate takes a scalar in fixed width and keeps the slice.
func newPrivate(info *curveInfo, scalar []byte, known *Known) (*PrivateKey, error) {
	if point := known.point(info, scalar); point != nil {
		return &PrivateKey{pub: newPublic(info, point), scalar: secret.New(scalar), known: known}, nil
	}
	known.countComputed()
	agree, point, err := info.group().private(scalar)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{pub: newPublic(info, point), scalar: secret.New(scalar), agree: agree, known: known}, nil
}

func newPrivateRSA(key *rsa.PrivateKey) (*PrivateKey, error) {
	pub, err := newPublicRSA(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{pub: pub, rsa: key}, nil
}

// GenerateKey makes a key on prime256v1, secp384r1, secp521r1, X25519 or X448. On
// another curve it returns an *UnsupportedError: keys that exist there are used, but new
// ones are made only where the arithmetic is constant-time.
func GenerateKey(c Curve) (*PrivateKey, error) {
	switch c {
	case Prime256v1, Secp384r1, Secp521r1, X25519, X448:
		return generateKey(c)
	}
	if _, err := curveByName(c); err != nil {
		return nil, err
	}
	return nil, &UnsupportedError{What: "making a key on curve " + string(c) + "; choose prime256v1, secp384r1 or secp521r1"}
}

func generateKey(c Curve) (*PrivateKey, error) {
	info, err := curveByName(c)
	if err != nil {
		return nil, err
	}
	scalar, agree, point, err := info.generate()
	if err != nil {
		return nil, err
	}
	return &PrivateKey{pub: newPublic(info, point), scalar: secret.New(scalar), agree: agree}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.pub }

// ID returns the version 2 ID of the public half.
func (k *PrivateKey) ID() KeyID { return k.pub.id }

// OldID returns the version 1 ID of the public half. An RSA key has none.
func (k *PrivateKey) OldID() (KeyID, bool) { return k.pub.OldID() }

// Destroy wipes the key as far as Go allows: copies inside crypto/ecdh and crypto/rsa
// are only dropped. Later uses report an error that wraps ErrNoKey.
func (k *PrivateKey) Destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.scalar.Clear()
	k.scalar = secret.Bytes{}
	if k.agree != nil {
		k.agree.clear()
		k.agree = nil
	}
	if k.rsa != nil {
		clear(k.rsa.D.Bits())
		for _, p := range k.rsa.Primes {
			clear(p.Bits())
		}
		k.rsa = nil
	}
}

// errDestroyed is what a key answers after Destroy.
func errDestroyed() error { return fmt.Errorf("%w: it was destroyed", ErrNoKey) }

// Format implements fmt.Formatter for every verb: only the public ID shows.
func (k *PrivateKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "dcrypt.PrivateKey("+k.pub.id.String()+")")
}

// LogValue implements slog.LogValuer: only the public ID shows.
func (k *PrivateKey) LogValue() slog.Value { return slog.StringValue(k.pub.id.String()) }

// Text returns the key unsealed in Dovecot's version 2 text form: a secret, which the
// caller clears. It is nil after Destroy.
func (k *PrivateKey) Text() []byte {
	value, err := k.value()
	if err != nil {
		return nil
	}
	defer clear(value)
	return appendV2(k.pub, "0", hexField(value))
}

// PEM returns the key unsealed as a PKCS#8 PRIVATE KEY block: a secret, which the
// caller clears. It is nil after Destroy.
func (k *PrivateKey) PEM() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var der []byte
	switch {
	case k.rsa != nil:
		der = marshalPKCS8RSA(k.rsa)
	case !k.scalar.IsZero():
		der = marshalPKCS8(k.pub.info, k.scalar.Bytes(), k.pub.point)
	default:
		return nil
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// value returns a copy of the private value as version 2 texts hold it: an MPI for
// curves with points, raw octets for X25519 and X448, PKCS#1 for RSA.
func (k *PrivateKey) value() ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case k.rsa != nil:
		return marshalPKCS1(k.rsa), nil
	case k.scalar.IsZero():
		return nil, errDestroyed()
	case k.pub.info.raw:
		return bytes.Clone(k.scalar.Bytes()), nil
	}
	return marshalMPI(k.scalar.Bytes()), nil
}

// shared agrees on a secret with an encoded point. A bad point is errPoint.
func (k *PrivateKey) shared(encoded []byte) ([]byte, error) {
	if err := k.ready(); err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.agree == nil {
		return nil, errDestroyed()
	}
	point, err := k.pub.info.decodePoint(encoded)
	if err != nil {
		return nil, err
	}
	k.known.countAgreed()
	return k.agree.shared(point)
}

// decryptRSA opens RSAES-OAEP with SHA-1 for both hashes, as Dovecot writes it
// whatever digest the header names.
func (k *PrivateKey) decryptRSA(b []byte) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.rsa == nil {
		return nil, errDestroyed()
	}
	out, err := k.rsa.Decrypt(nil, b, &rsa.OAEPOptions{Hash: crypto.SHA1})
	if err != nil {
		return nil, errUnwrap
	}
	return out, nil
}

// marshalMPI encodes a scalar as OpenSSL's BN_bn2mpi does: four octets of length, the
// shortest magnitude, and 00 before a magnitude whose top bit is set.
func marshalMPI(scalar []byte) []byte {
	magnitude := bytes.TrimLeft(scalar, "\x00")
	sign := 0
	if len(magnitude) > 0 && magnitude[0]&0x80 != 0 {
		sign = 1
	}
	b := make([]byte, 4+sign+len(magnitude))
	binary.BigEndian.PutUint32(b, uint32(sign+len(magnitude)))
	copy(b[4+sign:], magnitude)
	return b
}

// parseMPI returns the magnitude, with whatever leading zeros it has.
func parseMPI(b []byte) ([]byte, error) {
	if len(b) < 5 || uint64(binary.BigEndian.Uint32(b)) != uint64(len(b)-4) || b[4]&0x80 != 0 {
		return nil, badKey("private value is not a positive number")
	}
	return b[4:], nil
}

// fixedScalar left-pads a big-endian number to the curve's width in a new slice.
func (c *curveInfo) fixedScalar(magnitude []byte) ([]byte, error) {
	magnitude = bytes.TrimLeft(magnitude, "\x00")
	if len(magnitude) > c.scalar {
		return nil, errScalar
	}
	out := make([]byte, c.scalar)
	copy(out[c.scalar-len(magnitude):], magnitude)
	return out, nil
}
