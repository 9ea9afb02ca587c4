package dcrypt

import (
	"errors"
	"io"

	"mailcrypt/internal/secret"
)

var errStub = errors.New("dcrypt: not implemented")

// A KeyFinder returns the private key with the given ID, or an error wrapping
// [ErrNoKey]. The ID is a version 2 ID, or an old one for version 1 streams and texts.
type KeyFinder interface {
	PrivateKey(id KeyID) (*PrivateKey, error)
}

type PrivateKey struct{ pub *PublicKey }

func (k *PrivateKey) Public() *PublicKey   { return k.pub }
func (k *PrivateKey) ID() KeyID            { return KeyID{} }
func (k *PrivateKey) OldID() (KeyID, bool) { return KeyID{}, false }
func (k *PrivateKey) Destroy()             {}
func (k *PrivateKey) Text() []byte         { return nil }
func (k *PrivateKey) PEM() []byte          { return nil }

type PublicKey struct{ info *curveInfo }

func (k *PublicKey) ID() KeyID               { return KeyID{} }
func (k *PublicKey) OldID() (KeyID, bool)    { return KeyID{}, false }
func (k *PublicKey) Curve() (Curve, bool)    { return "", false }
func (k *PublicKey) Text() string            { return "" }
func (k *PublicKey) PEM() []byte             { return nil }
func (k *PublicKey) Equal(o *PublicKey) bool { return false }

func GenerateKey(c Curve) (*PrivateKey, error) { return nil, errStub }

type KeyFormat int

const (
	FormatV1 KeyFormat = iota + 1
	FormatV2
	FormatPEM
	FormatJWK
)

type Protection int

const (
	Unprotected Protection = iota
	ByPassword
	ByKey
)

type KeyInfo struct {
	Format          KeyFormat
	Private         bool
	Protection      Protection
	Protector       string
	ID              string
	Cipher, Hash    string
	Rounds, SaltLen int
}

type Opener struct {
	Password secret.Bytes
	Keys     KeyFinder
}

func Inspect(text []byte) (KeyInfo, error)                          { return KeyInfo{}, errStub }
func ParsePublicKey(text []byte) (*PublicKey, error)                { return nil, errStub }
func ParsePrivateKey(text []byte, open Opener) (*PrivateKey, error) { return nil, errStub }
func DecodeKeySetting(value []byte) []byte                          { return value }

type SealOptions struct {
	Cipher, Hash    string
	Rounds, SaltLen int
}

func SealPassword(k *PrivateKey, password []byte, o SealOptions) ([]byte, error) { return nil, errStub }
func SealKey(k *PrivateKey, to *PublicKey, o SealOptions) ([]byte, error)        { return nil, errStub }

const MagicLen = 9

func IsEncrypted(prefix []byte) bool { return false }

type Integrity int

const (
	None Integrity = iota
	HMAC
	AEAD
)

type Recipient struct {
	RSA bool
	ID  KeyID
}

type Header struct {
	Version        int
	Cipher, Digest string
	Integrity      Integrity
	Rounds         int
	Recipients     []Recipient
	Size           int64
}

func ReadHeader(r io.ReaderAt, size int64) (*Header, error) { return nil, errStub }

type Reader struct{}

func Open(r io.ReaderAt, size int64, keys KeyFinder) (*Reader, error) { return nil, errStub }
func (r *Reader) ReadAt(p []byte, off int64) (int, error)             { return 0, errStub }
func (r *Reader) Size() int64                                         { return 0 }
func (r *Reader) Header() *Header                                     { return nil }
func (r *Reader) Close() error                                        { return nil }

type WriterOptions struct {
	Version        int
	Cipher, Digest string
	Rounds         int
}

type Writer struct{}

func NewWriter(w io.Writer, to *PublicKey, o WriterOptions) (*Writer, error) { return nil, errStub }
func (w *Writer) Write(p []byte) (int, error)                                { return 0, errStub }
func (w *Writer) Close() error                                               { return errStub }
