package filecrypt

import (
	"errors"
	"fmt"
	"io"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/durable"
)

// EncryptOptions are the options of Encrypt. The zero value is what mailcryptd and Dovecot
// write by default, without compression.
type EncryptOptions struct {
	Stream      dcrypt.WriterOptions
	Compression compress.Method
	Level       compress.Level
}

// Encrypted are the sizes of a message that was encrypted. A file in a Maildir has them in
// its name, as ",S=Physical,W=Virtual".
type Encrypted struct {
	Physical int64 // bytes that were read
	Virtual  int64 // of these with every line end as CR LF
	Stored   int64 // bytes that were written
}

// Encrypt writes in to out as one stream to a key. The bytes are not changed: Dovecot
// stores mail with LF alone, and reads both. With an error out holds an unfinished stream,
// which does not open.
func Encrypt(in io.Reader, out io.Writer, to *dcrypt.PublicKey, o EncryptOptions) (Encrypted, error) {
	if to == nil {
		return Encrypted{}, errors.New("filecrypt: no public key")
	}
	var e Encrypted
	w, err := dcrypt.NewWriter(writerFunc(func(p []byte) (int, error) {
		n, err := out.Write(p)
		e.Stored += int64(n)
		return n, err
	}), to, o.Stream)
	if err != nil {
		return e, fmt.Errorf("filecrypt: %w", err)
	}
	z, err := compress.NewWriter(w, o.Compression, o.Level)
	if err != nil {
		return e, fmt.Errorf("filecrypt: %w", err)
	}
	last := byte(0)
	buf := make([]byte, 64<<10)
	defer clear(buf)
	_, err = io.CopyBuffer(z, onlyReader{io.TeeReader(in, writerFunc(func(p []byte) (int, error) {
		for _, c := range p {
			if c == '\n' && last != '\r' {
				e.Virtual++
			}
			last = c
		}
		e.Physical += int64(len(p))
		e.Virtual += int64(len(p))
		return len(p), nil
	}))}, buf)
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return e, fmt.Errorf("filecrypt: encrypting: %w", err)
	}
	return e, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// onlyReader hides what else a reader can do, so that the buffer is ours.
type onlyReader struct{ io.Reader }

// WriteNew makes a file that its owner alone can read and that write fills. It replaces
// no file, which is an error wrapping fs.ErrExist; where write fails there is none. When
// it returns nil the file is durable.
func WriteNew(path string, write func(io.Writer) error) error {
	return durable.WriteNew(path, write)
}
