// Package filecrypt decrypts and encrypts stored messages by hand: single files, outside
// of any mailbox, with a key at hand.
//
// Nothing is given out of a stream whose tag has not been verified as a whole, and nothing
// decrypted is kept in a temporary file. Memory is bounded: a regular file is read twice,
// and what cannot be read twice, a pipe say, must be small.
package filecrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
)

var (
	// ErrNotEncrypted reports input that is no encrypted stream.
	ErrNotEncrypted = errors.New("filecrypt: not an encrypted stream")
	// ErrNoIntegrity reports a stream that nothing guards, such as those of version 1:
	// whether it was altered cannot be told.
	ErrNoIntegrity = errors.New("filecrypt: the stream has nothing that shows changes")
	// ErrPipe reports more input than is kept in memory, from what is not a regular file.
	ErrPipe = errors.New("filecrypt: too much from a pipe: give the name of a file")
)

// maxPipe is how much of a pipe is kept: far above most mails.
const maxPipe = 64 << 20

// DecryptOptions are the options of Decrypt.
type DecryptOptions struct {
	// Keys are the private keys at hand.
	Keys dcrypt.KeyFinder
	// Decompress takes off the compression that is inside, if there is any.
	Decompress bool
	// AllowUnverified gives out streams without integrity.
	AllowUnverified bool
	// Limit is how many bytes may come out of compressed data; 0 is 1 GiB.
	Limit int64
}

// A Decrypted says what a stream was.
type Decrypted struct {
	Header      *dcrypt.Header
	Compression compress.Method // found inside, whether or not it was taken off
	Size        int64           // bytes that were written
	Verified    bool            // the tag or MAC of the whole stream was right
}

// Decrypt verifies the stream that in holds from its beginning and then writes what it
// says to out. in is read twice where it is a regular file or has ReadAt and Size; otherwise
// it is kept in memory, and bounded. With an error before that nothing was written; an error of the second
// reading, because the file changes meanwhile, ends the output in the middle.
//
// Errors wrap those above, or are of dcrypt.Open and compress.
func Decrypt(in io.Reader, out io.Writer, o DecryptOptions) (Decrypted, error) {
	src, size, err := source(in)
	if err != nil {
		return Decrypted{}, err
	}
	head := make([]byte, min(size, int64(dcrypt.MagicLen)))
	if _, err := src.ReadAt(head, 0); err != nil && err != io.EOF {
		return Decrypted{}, fmt.Errorf("filecrypt: reading: %w", err)
	}
	if !dcrypt.IsEncrypted(head) {
		return Decrypted{}, ErrNotEncrypted
	}
	if o.Keys == nil {
		o.Keys = dcrypt.KeyList{}
	}
	h, err := dcrypt.ReadHeader(src, size)
	if err != nil {
		return Decrypted{}, fmt.Errorf("filecrypt: %w", err)
	}
	d := Decrypted{Header: h, Verified: h.Integrity != dcrypt.None}
	if !d.Verified && !o.AllowUnverified {
		return d, ErrNoIntegrity
	}
	r, err := dcrypt.Open(src, size, o.Keys)
	if err != nil {
		return d, fmt.Errorf("filecrypt: %w", err)
	}
	defer r.Close()
	return d, d.write(r, out, o)
}

// write gives out what has been verified.
func (d *Decrypted) write(r *dcrypt.Reader, out io.Writer, o DecryptOptions) error {
	head := make([]byte, min(r.Size(), compress.MaxMagic))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("filecrypt: %w", err)
	}
	d.Compression = compress.Detect(head)
	method := compress.None
	if o.Decompress {
		method = d.Compression
	}
	limit := o.Limit
	if limit <= 0 {
		limit = 1 << 30
	}
	if method == compress.None {
		limit = r.Size()
	}
	if method != compress.None {
		// Once for nothing: damage inside must show before something is written.
		if _, err := inflate(r, io.Discard, method, limit); err != nil {
			return err
		}
	}
	n, err := inflate(r, out, method, limit)
	d.Size = n
	return err
}

func inflate(r *dcrypt.Reader, out io.Writer, m compress.Method, limit int64) (int64, error) {
	z, err := compress.NewReader(io.NewSectionReader(r, 0, r.Size()), m, limit)
	if err != nil {
		return 0, fmt.Errorf("filecrypt: %w", err)
	}
	defer z.Close()
	n, err := io.Copy(out, z)
	if err != nil {
		return n, fmt.Errorf("filecrypt: %w", err)
	}
	return n, nil
}

// A sized is input that can be read twice, and knows its size, as bytes.Reader and
// io.SectionReader.
type sized interface {
	io.ReaderAt
	Size() int64
}

// source makes in readable twice: a regular file as it is, a pipe from memory.
func source(in io.Reader) (io.ReaderAt, int64, error) {
	if s, ok := in.(sized); ok {
		return s, s.Size(), nil
	}
	if f, ok := in.(*os.File); ok {
		fi, err := f.Stat()
		if err != nil {
			return nil, 0, fmt.Errorf("filecrypt: %w", err)
		}
		if fi.Mode().IsRegular() {
			return f, fi.Size(), nil
		}
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPipe+1))
	if err != nil {
		return nil, 0, fmt.Errorf("filecrypt: reading: %w", err)
	}
	if len(b) > maxPipe {
		return nil, 0, fmt.Errorf("%w (beyond %d MiB)", ErrPipe, maxPipe>>20)
	}
	return bytes.NewReader(b), int64(len(b)), nil
}
