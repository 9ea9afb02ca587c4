package dcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/pem"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"mailcrypt/internal/sha256loop"
)

// The block types that Dovecot takes. It refuses the older EC PRIVATE KEY and RSA
// PRIVATE KEY, and so does this package.
const (
	pemPublic    = "PUBLIC KEY"
	pemPrivate   = "PRIVATE KEY"
	pemEncrypted = "ENCRYPTED PRIVATE KEY"
	pemBegin     = "-----BEGIN "
)

// inspectPEM looks at the first line alone, as Dovecot does.
func inspectPEM(text []byte) (KeyInfo, error) {
	rest := text[len(pemBegin):]
	kind, _, ok := bytes.Cut(rest, []byte("-----"))
	if !ok {
		return KeyInfo{}, badKey("bad PEM header")
	}
	switch string(kind) {
	case pemPublic:
		return KeyInfo{Format: FormatPEM}, nil
	case pemPrivate:
		return KeyInfo{Format: FormatPEM, Private: true}, nil
	case pemEncrypted:
		return KeyInfo{Format: FormatPEM, Private: true, Protection: ByPassword}, nil
	}
	return KeyInfo{}, unsupported("PEM block", string(kind))
}

func decodePEM(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || len(block.Headers) > 0 || !bytes.HasPrefix(text[len(pemBegin):], []byte(block.Type+"-----")) {
		return nil, badKey("bad PEM block")
	}
	return block.Bytes, nil
}

func parsePublicPEM(text []byte) (*PublicKey, error) {
	der, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	return parseSPKI(der)
}

func parsePrivatePEM(text []byte, info KeyInfo, open Opener) (*PrivateKey, error) {
	der, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if info.Protection == Unprotected {
		return parsePKCS8(der, open.Known)
	}
	if open.Password.IsZero() {
		return nil, ErrPasswordRequired
	}
	plain, err := openPBES2(der, open.Password.Bytes())
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	k, err := parsePKCS8(plain, open.Known)
	if _, ok := err.(*FormatError); ok {
		// One wrong password in 256 leaves something that looks like padding.
		return nil, ErrPassword
	}
	return k, err
}

// The object identifiers of PBES2 (RFC 8018 appendix C). They are constant.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oid3DES   = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
	// oidHMAC is followed by 7 for SHA-1, 8 to 11 for the SHA-2 family.
	oidHMAC = asn1.ObjectIdentifier{1, 2, 840, 113549, 2}
)

// pbes2 is what an EncryptedPrivateKeyInfo says about its encryption.
type pbes2 struct {
	salt   []byte
	rounds int64
	prf    func() hash.Hash
	cipher *cipherInfo // nil for triple DES
	iv     []byte
	text   []byte
}

// openPBES2 decrypts an EncryptedPrivateKeyInfo (RFC 5958 section 3).
func openPBES2(der, password []byte) ([]byte, error) {
	p, err := parsePBES2(der)
	if err != nil {
		return nil, err
	}
	if p.cipher == nil {
		key := sha256loop.Generic(p.prf, password, p.salt, int(p.rounds), 24)
		defer clear(key)
		block, err := des.NewTripleDESCipher(key)
		if err != nil || len(p.text)%des.BlockSize != 0 {
			return nil, ErrPassword
		}
		out := bytes.Clone(p.text)
		cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(out, out)
		if out, err = unpad(out); err != nil {
			return nil, ErrPassword
		}
		return out, nil
	}
	key := sha256loop.Generic(p.prf, password, p.salt, int(p.rounds), p.cipher.keySize)
	defer clear(key)
	out, err := p.cipher.open(key, p.iv, nil, p.text)
	if err != nil {
		return nil, ErrPassword
	}
	return out, nil
}

func parsePBES2(der []byte) (*pbes2, error) {
	bad := badKey("bad encrypted private key encoding")
	s := cryptobyte.String(der)
	var seq, alg, params, kdf, kdfParams, enc, text cryptobyte.String
	var oid, encOID asn1.ObjectIdentifier
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() ||
		!seq.ReadASN1(&alg, cbasn1.SEQUENCE) || !seq.ReadASN1(&text, cbasn1.OCTET_STRING) ||
		!alg.ReadASN1ObjectIdentifier(&oid) {
		return nil, bad
	}
	if !oid.Equal(oidPBES2) {
		return nil, &UnsupportedError{What: "key encryption " + oid.String()}
	}
	if !alg.ReadASN1(&params, cbasn1.SEQUENCE) || !params.ReadASN1(&kdf, cbasn1.SEQUENCE) ||
		!params.ReadASN1(&enc, cbasn1.SEQUENCE) || !kdf.ReadASN1ObjectIdentifier(&oid) {
		return nil, bad
	}
	if !oid.Equal(oidPBKDF2) {
		return nil, &UnsupportedError{What: "key derivation " + oid.String()}
	}
	p := &pbes2{text: text}
	var iv, salt cryptobyte.String
	if !kdf.ReadASN1(&kdfParams, cbasn1.SEQUENCE) || !kdfParams.ReadASN1(&salt, cbasn1.OCTET_STRING) ||
		!kdfParams.ReadASN1Integer(&p.rounds) || !kdfParams.SkipOptionalASN1(cbasn1.INTEGER) ||
		!enc.ReadASN1ObjectIdentifier(&encOID) || !enc.ReadASN1(&iv, cbasn1.OCTET_STRING) {
		return nil, bad
	}
	if p.rounds < 1 || p.rounds > maxPasswordRounds {
		return nil, badKey("rounds out of bounds")
	}
	p.salt, p.iv = salt, iv
	if err := p.choosePRF(kdfParams); err != nil {
		return nil, err
	}
	return p, p.chooseCipher(encOID)
}

// choosePRF reads the optional pseudo-random function, by default HMAC-SHA-1.
func (p *pbes2) choosePRF(params cryptobyte.String) error {
	p.prf = sha1.New
	if params.Empty() {
		return nil
	}
	var prf cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !params.ReadASN1(&prf, cbasn1.SEQUENCE) || !prf.ReadASN1ObjectIdentifier(&oid) {
		return badKey("bad encrypted private key encoding")
	}
	if len(oid) == len(oidHMAC)+1 && oid[:len(oidHMAC)].Equal(oidHMAC) {
		switch oid[len(oidHMAC)] {
		case 7:
			return nil
		case 8:
			p.prf = sha256.New224
			return nil
		case 9:
			p.prf = sha256.New
			return nil
		case 10:
			p.prf = sha512.New384
			return nil
		case 11:
			p.prf = sha512.New
			return nil
		}
	}
	return &UnsupportedError{What: "pseudo-random function " + oid.String()}
}

func (p *pbes2) chooseCipher(oid asn1.ObjectIdentifier) error {
	want := des.BlockSize
	if !oid.Equal(oid3DES) {
		for i := range ciphers {
			if ciphers[i].mode == modeCBC && ciphers[i].oid.Equal(oid) {
				p.cipher = &ciphers[i]
			}
		}
		if p.cipher == nil {
			return &UnsupportedError{What: "cipher " + oid.String()}
		}
		want = aes.BlockSize
	}
	if len(p.iv) != want {
		return badKey("bad IV")
	}
	return nil
}
