package dcrypt

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
)

// jsonKey is a JSON web key (RFC 7517, 7518 section 6, 8037). Its members pass through
// strings, which cannot be cleared.
type jsonKey struct {
	Kty string  `json:"kty"`
	Crv string  `json:"crv"`
	X   string  `json:"x"`
	Y   string  `json:"y"`
	N   string  `json:"n"`
	E   string  `json:"e"`
	D   *string `json:"d"`
	P   string  `json:"p"`
	Q   string  `json:"q"`
}

func parseJSONKey(text []byte) (*jsonKey, error) {
	j := new(jsonKey)
	if err := json.Unmarshal(text, j); err != nil {
		return nil, badKey("bad JSON") // the decoder's own words may quote the key
	}
	switch j.Kty {
	case "EC", "RSA", "OKP":
		return j, nil
	case "":
		return nil, badKey("JSON without kty")
	}
	return nil, unsupported("JWK key type", j.Kty)
}

func inspectJWK(text []byte) (KeyInfo, error) {
	j, err := parseJSONKey(text)
	if err != nil {
		return KeyInfo{}, err
	}
	return KeyInfo{Format: FormatJWK, Private: j.D != nil}, nil
}

func (j *jsonKey) curve() (*curveInfo, error) {
	info := findCurve(func(c *curveInfo) bool {
		return c.jwk != "" && c.jwk == j.Crv && c.raw == (j.Kty == "OKP")
	})
	if info == nil {
		return nil, unsupported("JWK curve", j.Crv)
	}
	return info, nil
}

// jwkField decodes base64url without padding. An octet string longer than an RSA number
// is refused.
func jwkField(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > maxRSABits/8 {
		return nil, badKey("bad JWK member")
	}
	return b, nil
}

func (j *jsonKey) public() (*PublicKey, error) {
	if j.Kty == "RSA" {
		n, err := jwkField(j.N)
		if err != nil {
			return nil, err
		}
		e, err := jwkField(j.E)
		if err != nil {
			return nil, err
		}
		exp := new(big.Int).SetBytes(e)
		if exp.BitLen() > 31 || exp.Cmp(big.NewInt(3)) < 0 || exp.Bit(0) == 0 {
			return nil, badKey("bad RSA exponent")
		}
		return newPublicRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exp.Int64())})
	}
	info, err := j.curve()
	if err != nil {
		return nil, err
	}
	encoded, err := jwkField(j.X)
	if err != nil {
		return nil, err
	}
	if !info.raw {
		y, err := jwkField(j.Y)
		if err != nil {
			return nil, err
		}
		if len(encoded) != info.scalar || len(y) != info.scalar {
			return nil, badKey("JWK coordinate has the wrong length")
		}
		encoded = append(append([]byte{4}, encoded...), y...)
	}
	point, err := info.decodePoint(encoded)
	if err != nil {
		return nil, badKey("not a point of the curve")
	}
	return newPublic(info, point), nil
}

func parsePublicJWK(text []byte) (*PublicKey, error) {
	j, err := parseJSONKey(text)
	if err != nil {
		return nil, err
	}
	return j.public()
}

func parsePrivateJWK(text []byte, known *Known) (*PrivateKey, error) {
	j, err := parseJSONKey(text)
	if err != nil {
		return nil, err
	}
	pub, err := j.public()
	if err != nil {
		return nil, err
	}
	d, err := jwkField(*j.D)
	if err != nil {
		return nil, err
	}
	defer clear(d)
	var k *PrivateKey
	if pub.info == nil {
		k, err = j.privateRSA(pub.rsa, d)
	} else if pub.info.raw && len(d) != pub.info.scalar {
		err = badKey("JWK private value has the wrong length")
	} else {
		var scalar []byte
		if scalar, err = pub.info.fixedScalar(d); err != nil {
			return nil, badKey("private value is out of range")
		}
		k, err = newPrivateChecked(pub.info, scalar, known)
	}
	if err != nil {
		return nil, err
	}
	// The point in the text names the key; a private value that belongs to another would
	// open nothing that is encrypted to it.
	if !k.pub.Equal(pub) {
		k.Destroy()
		return nil, badKey("private value and public point do not belong together")
	}
	return k, nil
}

// privateRSA takes n, e, d and the two primes and computes the rest itself.
func (j *jsonKey) privateRSA(pub *rsa.PublicKey, d []byte) (*PrivateKey, error) {
	p, err := jwkField(j.P)
	if err != nil {
		return nil, err
	}
	q, err := jwkField(j.Q)
	if err != nil {
		return nil, err
	}
	key := &rsa.PrivateKey{
		PublicKey: *pub,
		D:         new(big.Int).SetBytes(d),
		Primes:    []*big.Int{new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)},
	}
	if err := key.Validate(); err != nil {
		return nil, badKey("bad RSA private key")
	}
	key.Precompute()
	return newPrivateRSA(key)
}
