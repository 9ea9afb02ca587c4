package filecrypt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"mailcrypt/dcrypt"
	"mailcrypt/internal/secret"
)

// maxKeys bounds the keys of one file, far above those of one user.
const maxKeys = 100_000

// PrivateKey reads a private key as people keep it in files: key text with or without a
// newline at its end, its base64, PEM or JWK. password is nil where there is none. Errors
// are those of dcrypt.ParsePrivateKey. The caller destroys the key and clears the password.
func PrivateKey(text, password []byte) (*dcrypt.PrivateKey, error) {
	o := dcrypt.Opener{}
	if password != nil {
		o.Password = secret.New(password)
	}
	return dcrypt.ParsePrivateKey(dcrypt.DecodeKeySetting(oneLine(text)), o)
}

// PublicKey reads a public key in the forms of PrivateKey. A private key that needs no
// secret stands for its public half.
func PublicKey(text []byte) (*dcrypt.PublicKey, error) {
	pub, err := dcrypt.ParsePublicKey(dcrypt.DecodeKeySetting(oneLine(text)))
	if err == nil {
		return pub, nil
	}
	key, kerr := PrivateKey(text, nil)
	if kerr != nil {
		return nil, err
	}
	defer key.Destroy()
	return key.Public(), nil
}

// Split takes the keys apart that a file has one after the other: blocks of PEM, JSON, or
// key texts, of which each is a line. The parts share the memory of text.
func Split(text []byte) [][]byte {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return [][]byte{text}
	}
	var parts [][]byte
	for len(text) > 0 && len(parts) < maxKeys {
		end := bytes.IndexByte(text, '\n') + 1
		if bytes.HasPrefix(text, []byte("-----BEGIN ")) {
			if i := bytes.Index(text, []byte("\n-----END ")); i >= 0 {
				end = i + 1 + bytes.IndexByte(text[i+1:], '\n') + 1
				if end == i+1 {
					end = 0
				}
			} else {
				end = 0
			}
		}
		if end == 0 {
			end = len(text)
		}
		if part := text[:end]; len(bytes.TrimSpace(part)) > 0 {
			parts = append(parts, part)
		}
		text = text[end:]
	}
	return parts
}

// PrivateKeys opens key texts, in the forms of PrivateKey: what needs no secret, what the
// password opens, and what is sealed to one of the others. password is called once, where
// a key needs it; it may be nil, and the caller clears what it returned.
//
// The error says why keys stay shut; the list holds the others all the same, and the caller
// destroys them.
func PrivateKeys(texts [][]byte, password func() ([]byte, error)) (dcrypt.KeyList, error) {
	var list dcrypt.KeyList
	var errs []error
	var pass []byte
	asked := password == nil
	var sealed [][]byte
	for _, text := range texts {
		text = dcrypt.DecodeKeySetting(oneLine(text))
		info, err := dcrypt.Inspect(text)
		if err == nil && info.Private && info.Protection == dcrypt.ByKey {
			sealed = append(sealed, text)
			continue
		}
		if err == nil && info.Protection == dcrypt.ByPassword && !asked {
			if pass, err = password(); err != nil {
				return list, err
			}
			asked = true
		}
		key, err := PrivateKey(text, pass)
		if err != nil {
			errs = append(errs, fmt.Errorf("filecrypt: %w", err))
			continue
		}
		list = append(list, key)
	}
	for found := true; found && len(sealed) > 0; { // a user key may be sealed to a key, too
		found = false
		errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, errSealed) })
		sealed = slices.DeleteFunc(sealed, func(text []byte) bool {
			key, err := dcrypt.ParsePrivateKey(text, dcrypt.Opener{Keys: list})
			if err != nil {
				errs = append(errs, fmt.Errorf("%w: %w", errSealed, err))
				return false
			}
			list, found = append(list, key), true
			return true
		})
	}
	return list, errors.Join(errs...)
}

// errSealed marks keys that wait for another one.
var errSealed = errors.New("filecrypt: key is sealed to a key that is not here")

// oneLine takes off one line end, which an editor leaves and a key text does not have.
func oneLine(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}
