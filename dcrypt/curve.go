package dcrypt

import (
	"encoding/asn1"
	"fmt"
)

// A Curve is an elliptic curve under its OpenSSL short name, as in Dovecot's setting
// mail_crypt_curve. The zero value stands for none, as for an RSA key.
type Curve string

// The curves. Dovecot 2.3 reads all but X25519 and X448, which need 2.4; prime256v1
// is the fastest one that every version reads. The arithmetic of the three brainpool
// curves is not constant time: use them for stores that have them already.
const (
	Prime256v1      Curve = "prime256v1"
	Secp224r1       Curve = "secp224r1"
	Secp384r1       Curve = "secp384r1"
	Secp521r1       Curve = "secp521r1"
	Secp256k1       Curve = "secp256k1"
	BrainpoolP256r1 Curve = "brainpoolP256r1"
	BrainpoolP384r1 Curve = "brainpoolP384r1"
	BrainpoolP512r1 Curve = "brainpoolP512r1"
	X25519          Curve = "X25519"
	X448            Curve = "X448"
)

// curveInfo is what the texts and streams say about a curve.
type curveInfo struct {
	curve  Curve
	oid    asn1.ObjectIdentifier
	nid    int    // OpenSSL's number, in version 1 key texts
	jwk    string // crv in a JSON web key, or empty
	scalar int    // octets of a scalar and of a coordinate
	raw    bool   // X25519 and X448: no point formats, no MPI
}

// curves is constant.
var curves = []curveInfo{
	{Prime256v1, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 415, "P-256", 32, false},
	{Secp224r1, asn1.ObjectIdentifier{1, 3, 132, 0, 33}, 713, "", 28, false},
	{Secp384r1, asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 715, "P-384", 48, false},
	{Secp521r1, asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 716, "P-521", 66, false},
	{Secp256k1, asn1.ObjectIdentifier{1, 3, 132, 0, 10}, 714, "secp256k1", 32, false},
	{BrainpoolP256r1, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7}, 927, "", 32, false},
	{BrainpoolP384r1, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 11}, 931, "", 48, false},
	{BrainpoolP512r1, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 13}, 933, "", 64, false},
	{X25519, asn1.ObjectIdentifier{1, 3, 101, 110}, 1034, "X25519", 32, true},
	{X448, asn1.ObjectIdentifier{1, 3, 101, 111}, 1035, "X448", 56, true},
}

// findCurve returns the first curve that match accepts, or nil.
func findCurve(match func(*curveInfo) bool) *curveInfo {
	for i := range curves {
		if match(&curves[i]) {
			return &curves[i]
		}
	}
	return nil
}

func curveByOID(oid asn1.ObjectIdentifier) (*curveInfo, error) {
	if c := findCurve(func(c *curveInfo) bool { return c.oid.Equal(oid) }); c != nil {
		return c, nil
	}
	return nil, &UnsupportedError{What: "curve " + oid.String()}
}

func curveByName(name Curve) (*curveInfo, error) {
	if c := findCurve(func(c *curveInfo) bool { return c.curve == name }); c != nil {
		return c, nil
	}
	return nil, &UnsupportedError{What: fmt.Sprintf("curve %.40q", string(name))}
}

// ParseCurve returns the curve of an OpenSSL short name, case-sensitive as Dovecot
// is. For an unknown name the error is an *UnsupportedError.
func ParseCurve(name string) (Curve, error) {
	c, err := curveByName(Curve(name))
	if err != nil {
		return "", err
	}
	return c.curve, nil
}
