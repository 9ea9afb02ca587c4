package dcrypt

import (
	"bytes"
	"errors"
)

// parsePublicV2 reads 2, SubjectPublicKeyInfo, ID.
func parsePublicV2(f keyFields) (*PublicKey, error) {
	der, err := unhexField(f[1])
	if err != nil {
		return nil, err
	}
	k, err := parseSPKI(der)
	if err != nil {
		return nil, err
	}
	if k.id.String() != string(f.last()) {
		return nil, ErrKeyID
	}
	return k, nil
}

// typeV2 is the type of a version 2 private key: an OID, or OpenSSL's name, which
// Dovecot takes too. A nil curve means RSA.
func typeV2(field []byte) (*curveInfo, error) {
	name := string(field)
	if name == oidRSA.String() || name == "rsaEncryption" {
		return nil, nil
	}
	info := findCurve(func(c *curveInfo) bool { return c.oid.String() == name || string(c.curve) == name })
	if info == nil {
		return nil, unsupported("key type", name)
	}
	return info, nil
}

// parsePrivateV2 reads the three private forms of version 2.
func parsePrivateV2(f keyFields, info KeyInfo, open Opener) (*PrivateKey, error) {
	curve, err := typeV2(f[1])
	if err != nil {
		return nil, err
	}
	if !isID(f.last()) {
		return nil, ErrKeyID
	}
	var value []byte
	if info.Protection == Unprotected {
		value, err = unhexField(f[3])
	} else {
		value, err = openV2(f, info, open)
	}
	if errors.Is(err, errUnwrap) { // the padding of CBC
		return finishPrivate(f, info, func() (*PrivateKey, error) { return nil, errUnwrap })
	}
	if err != nil {
		return nil, err
	}
	defer clear(value)
	return finishPrivate(f, info, func() (*PrivateKey, error) { return privateV2(curve, value, open.Known) })
}

// privateV2 reads a private value of version 2.
func privateV2(curve *curveInfo, value []byte, known *Known) (*PrivateKey, error) {
	switch {
	case curve == nil:
		return parsePKCS1(value)
	case curve.raw:
		if len(value) != curve.scalar {
			return nil, badKey("private value has the wrong length")
		}
		return newPrivateChecked(curve, bytes.Clone(value), known)
	}
	magnitude, err := parseMPI(value)
	if err != nil {
		return nil, err
	}
	scalar, err := curve.fixedScalar(magnitude)
	if err != nil {
		return nil, badKey("private value is out of range")
	}
	return newPrivateChecked(curve, scalar, known)
}

// openV2 undoes the seal of a version 2 private key.
func openV2(f keyFields, info KeyInfo, open Opener) ([]byte, error) {
	s, err := newSeal(info.Cipher, info.Hash, info.Rounds, info.Protection)
	if err != nil {
		return nil, err
	}
	// An empty salt is a salt: Dovecot reads any length.
	if len(f[4]) > 0 {
		if s.salt, err = unhexField(f[4]); err != nil {
			return nil, err
		}
	}
	text, err := unhexField(f[7])
	if err != nil {
		return nil, err
	}
	if info.Protection == ByPassword {
		if open.Password.IsZero() {
			return nil, ErrPasswordRequired
		}
		return s.open(open.Password.Bytes(), text)
	}
	peer, err := unhexField(f[8])
	if err != nil {
		return nil, err
	}
	protector, err := findKey(open.Keys, f[9])
	if err != nil {
		return nil, err
	}
	if protector.ID().String() != string(f[9]) {
		return nil, ErrNoKey // found under an old ID, which version 2 does not use
	}
	var shared []byte
	if protector.pub.info == nil {
		shared, err = protector.decryptRSA(peer)
	} else {
		shared, err = sharedForKey(protector, peer)
	}
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	return s.open(shared, text)
}
