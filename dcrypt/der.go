package dcrypt

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// crypto/x509 knows neither compressed points nor most of the curves, hence these.

// oidRSA and oidEC are constant.
var (
	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
)

// addAlgorithm adds an AlgorithmIdentifier: id-ecPublicKey with the named curve
// (RFC 5480 section 2.1), or the curve's own OID (RFC 8410 section 3).
func addAlgorithm(b *cryptobyte.Builder, info *curveInfo) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if !info.raw {
			b.AddASN1ObjectIdentifier(oidEC)
		}
		b.AddASN1ObjectIdentifier(info.oid)
	})
}

func marshalSPKI(info *curveInfo, point []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b, info)
		b.AddASN1BitString(point)
	})
	return b.BytesOrPanic()
}

func marshalSPKIRSA(key *rsa.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(key) }

func marshalPKCS1(key *rsa.PrivateKey) []byte { return x509.MarshalPKCS1PrivateKey(key) }

// marshalPKCS8 writes RFC 5958 with RFC 5915 inside, or RFC 8410.
func marshalPKCS8(info *curveInfo, scalar, point []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Uint64(0)
		addAlgorithm(b, info)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			if info.raw {
				b.AddASN1OctetString(scalar)
				return
			}
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Uint64(1)
				b.AddASN1OctetString(scalar)
				b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
					b.AddASN1BitString(point)
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func marshalPKCS8RSA(key *rsa.PrivateKey) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Uint64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidRSA)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(marshalPKCS1(key))
	})
	return b.BytesOrPanic()
}

// readAlgorithm reads an AlgorithmIdentifier of a key. A nil curve means RSA.
func readAlgorithm(s *cryptobyte.String) (*curveInfo, error) {
	var alg cryptobyte.String
	var oid, named asn1.ObjectIdentifier
	if !s.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
		return nil, badKey("bad algorithm identifier")
	}
	switch {
	case oid.Equal(oidRSA):
		return nil, nil
	case oid.Equal(oidEC):
		if alg.PeekASN1Tag(cbasn1.SEQUENCE) {
			return nil, &UnsupportedError{What: "curve given by its parameters"}
		}
		if !alg.ReadASN1ObjectIdentifier(&named) || !alg.Empty() {
			return nil, badKey("bad curve identifier")
		}
		info, err := curveByOID(named)
		if err == nil && info.raw {
			return nil, badKey("bad curve identifier")
		}
		return info, err
	}
	info, err := curveByOID(oid)
	if err != nil {
		return nil, &UnsupportedError{What: "key type " + oid.String()}
	}
	if !info.raw || !alg.Empty() {
		return nil, badKey("bad algorithm identifier")
	}
	return info, nil
}

// splitSPKI takes a DER SubjectPublicKeyInfo apart; a nil curve means RSA.
func splitSPKI(der []byte) (info *curveInfo, bits []byte, err error) {
	s := cryptobyte.String(der)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() {
		return nil, nil, badKey("bad public key encoding")
	}
	if info, err = readAlgorithm(&seq); err != nil {
		return nil, nil, err
	}
	if !seq.ReadASN1BitStringAsBytes(&bits) || !seq.Empty() {
		return nil, nil, badKey("bad public key encoding")
	}
	return info, bits, nil
}

// parseSPKI reads a DER SubjectPublicKeyInfo with a compressed or uncompressed point.
func parseSPKI(der []byte) (*PublicKey, error) {
	info, bits, err := splitSPKI(der)
	if err != nil {
		return nil, err
	}
	if info == nil {
		key, err := x509.ParsePKCS1PublicKey(bits)
		if err != nil {
			return nil, badKey("bad RSA public key")
		}
		return newPublicRSA(key)
	}
	point, err := info.decodePoint(bits)
	if err != nil {
		return nil, badKey("not a point of the curve")
	}
	return newPublic(info, point), nil
}

// parsePKCS8 reads an unencrypted PKCS#8 PrivateKeyInfo.
func parsePKCS8(der []byte, known *Known) (*PrivateKey, error) {
	s := cryptobyte.String(der)
	var seq, octets cryptobyte.String
	var version uint64
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Integer(&version) || version > 1 {
		return nil, badKey("bad private key encoding")
	}
	info, err := readAlgorithm(&seq)
	if err != nil {
		return nil, err
	}
	if !seq.ReadASN1(&octets, cbasn1.OCTET_STRING) { // attributes may follow
		return nil, badKey("bad private key encoding")
	}
	if info == nil {
		return parsePKCS1(octets)
	}
	if !info.raw {
		return parseECPrivateKey(info, octets, known)
	}
	var raw cryptobyte.String
	if !octets.ReadASN1(&raw, cbasn1.OCTET_STRING) || !octets.Empty() || len(raw) != info.scalar {
		return nil, badKey("bad private key encoding")
	}
	return newPrivateChecked(info, bytes.Clone(raw), known)
}

// parseECPrivateKey reads RFC 5915's structure for a curve that the outer one named.
func parseECPrivateKey(info *curveInfo, der cryptobyte.String, known *Known) (*PrivateKey, error) {
	var seq, octets, inner cryptobyte.String
	var version uint64
	var hasPoint bool
	if !der.ReadASN1(&seq, cbasn1.SEQUENCE) || !der.Empty() || !seq.ReadASN1Integer(&version) || version != 1 ||
		!seq.ReadASN1(&octets, cbasn1.OCTET_STRING) ||
		!seq.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		!seq.ReadOptionalASN1(&inner, &hasPoint, cbasn1.Tag(1).ContextSpecific().Constructed()) {
		return nil, badKey("bad private key encoding")
	}
	scalar, err := info.fixedScalar(octets)
	if err != nil {
		return nil, badKey("private value is out of range")
	}
	k, err := newPrivateChecked(info, scalar, known)
	if err != nil || !hasPoint {
		return k, err
	}
	var bits []byte
	if !inner.ReadASN1BitStringAsBytes(&bits) {
		return nil, badKey("bad private key encoding")
	}
	// OpenSSL believes the point that stands beside the scalar. A pair that does not match
	// would give the key an ID under which nothing opens.
	if point, err := info.decodePoint(bits); err != nil || !bytes.Equal(point, k.pub.point) {
		return nil, badKey("private value and public point do not belong together")
	}
	return k, nil
}

func parsePKCS1(der []byte) (*PrivateKey, error) {
	// x509 checks the arithmetic of the key, which takes time with its size.
	if len(der) > maxRSABits {
		return nil, &UnsupportedError{What: "RSA key of more than 8192 bits"}
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, badKey("bad RSA private key")
	}
	return newPrivateRSA(key)
}

// newPrivateChecked is newPrivate for scalars from outside.
func newPrivateChecked(info *curveInfo, scalar []byte, known *Known) (*PrivateKey, error) {
	k, err := newPrivate(info, scalar, known)
	if err != nil {
		clear(scalar)
		return nil, badKey("private value is out of range")
	}
	return k, nil
}
