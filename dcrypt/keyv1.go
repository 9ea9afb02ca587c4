package dcrypt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"

	"mailcrypt/internal/sha256loop"
)

// rounds1 is the fixed PBKDF2 round count of version 1 keys sealed by a password.
const rounds1 = 16

// curveV1 is the curve of a version 1 text, given by OpenSSL's number for it.
func curveV1(field []byte) (*curveInfo, error) {
	nid, err := strconv.Atoi(string(field))
	if err != nil {
		return nil, badKey("curve is not a number")
	}
	info := findCurve(func(c *curveInfo) bool { return c.nid == nid && !c.raw })
	if info == nil {
		return nil, unsupported("curve number", string(field))
	}
	return info, nil
}

// parsePublicV1 reads 1, nid, point, old ID.
func parsePublicV1(f keyFields) (*PublicKey, error) {
	info, err := curveV1(f[1])
	if err != nil {
		return nil, err
	}
	encoded, err := unhexField(f[2])
	if err != nil {
		return nil, err
	}
	point, err := info.decodePoint(encoded)
	if err != nil {
		return nil, badKey("not a point of the curve")
	}
	k := newPublic(info, point)
	if k.oldID.String() != string(f.last()) {
		return nil, ErrKeyID
	}
	return k, nil
}

// parsePrivateV1 reads the three private forms of version 1.
func parsePrivateV1(f keyFields, info KeyInfo, open Opener) (*PrivateKey, error) {
	curve, err := curveV1(f[1])
	if err != nil {
		return nil, err
	}
	if !isID(f.last()) {
		return nil, ErrKeyID
	}
	value, err := unhexField(f[3])
	if err != nil {
		return nil, err
	}
	defer clear(value)
	if info.Protection == Unprotected {
		return finishPrivate(f, info, func() (*PrivateKey, error) { return privateV1(curve, value, open.Known) })
	}
	kek, err := kekV1(f, info, open)
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	ctr, err := cipherByName("aes-256-ctr")
	if err != nil {
		return nil, err
	}
	// The zero counter block is safe only because every key encrypts one value.
	plain, err := ctr.open(kek, make([]byte, ctr.ivSize()), nil, value)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return finishPrivate(f, info, func() (*PrivateKey, error) { return privateV1(curve, plain, open.Known) })
}

// kekV1 returns the key under which a version 1 scalar is encrypted.
func kekV1(f keyFields, info KeyInfo, open Opener) ([]byte, error) {
	if info.Protection == ByPassword {
		salt, err := unhexField(f[4])
		if err != nil {
			return nil, err
		}
		if open.Password.IsZero() {
			return nil, ErrPasswordRequired
		}
		// Dovecot decodes the configured text, so what is not hex opens no such key.
		password, err := hex.AppendDecode(nil, open.Password.Bytes())
		if err != nil {
			return nil, ErrPassword
		}
		defer clear(password)
		return sha256loop.PBKDF2(password, salt, rounds1, 32), nil
	}
	ephemeral, err := unhexField(f[4])
	if err != nil {
		return nil, err
	}
	protector, err := findKey(open.Keys, f[5])
	if err != nil {
		return nil, err
	}
	s, err := sharedForKey(protector, ephemeral)
	if err != nil {
		return nil, err
	}
	defer clear(s)
	kek := sha256.Sum256(s)
	return kek[:], nil
}

// sharedForKey agrees on the secret of a key sealed to another key.
func sharedForKey(protector *PrivateKey, ephemeral []byte) ([]byte, error) {
	if protector.pub.info == nil {
		return nil, badKey("protecting key is of another type")
	}
	s, err := protector.shared(ephemeral)
	if errors.Is(err, errPoint) {
		return nil, badKey("ephemeral key is not a point of the protecting key's curve")
	}
	return s, err
}

func privateV1(curve *curveInfo, value []byte, known *Known) (*PrivateKey, error) {
	scalar, err := curve.fixedScalar(value)
	if err != nil {
		return nil, badKey("private value is out of range")
	}
	return newPrivateChecked(curve, scalar, known)
}

// finishPrivate makes the key and compares its ID with the last field. Because a seal
// has no tag, all that can go wrong behind one is one error for each kind of seal.
func finishPrivate(f keyFields, info KeyInfo, parse func() (*PrivateKey, error)) (*PrivateKey, error) {
	k, err := parse()
	if err == nil {
		id := k.ID()
		if info.Format == FormatV1 {
			id, _ = k.OldID()
		}
		if id.String() == string(f.last()) {
			return k, nil
		}
		k.Destroy()
		err = ErrKeyID
	}
	switch info.Protection {
	case ByPassword:
		return nil, ErrPassword
	case ByKey:
		return nil, ErrKeyID
	}
	return nil, err
}
