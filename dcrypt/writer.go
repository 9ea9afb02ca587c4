package dcrypt

import (
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// WriterOptions chooses the form of a stream. The zero value is what every Dovecot
// since 2.2 reads: version 2, aes-256-gcm-sha256.
type WriterOptions struct {
	Version int // 2, or 1, which has no integrity and which Dovecot 2.4 only reads; 0 means 2

	// Cipher and Digest are aes-256-gcm and sha256 if empty. Dovecot 2.3 reads AES in
	// GCM, CBC and CFB, 2.4 also chacha20-poly1305. What is no AEAD gets an HMAC.
	Cipher string
	Digest string

	// Rounds of PBKDF2 over the ECDH secret, at most 100,000. 0 means 1: the secret has
	// full entropy, so there is nothing to slow down, and readers take the number from
	// the header (2.3.19 and 2.4.4 do). Dovecot writes 2,048.
	Rounds int

	// KeyData, where set, is told header and key data of a stream with AEAD before any of
	// it is written: what opens it without a private key. It retains neither slice.
	KeyData func(header, kd []byte)
}

// Sizes of the Writer's buffer: the header lies before the text, so that a small
// message is one Write; padding and trailer follow it.
const (
	headRoom = 2 << 10
	tailRoom = 16 + 64
	bufSize  = headRoom + chunkSize + tailRoom
)

// buffers holds *[bufSize]byte without plaintext.
var buffers = sync.Pool{New: func() any { return new([bufSize]byte) }}

// A Writer encrypts one stream to one recipient. It is not safe for concurrent use.
type Writer struct {
	w    io.Writer
	to   *PublicKey
	tell func(header, kd []byte)
	head *Header // what to write; its recipient is made at the first octet

	kd   []byte // key data, which seal refers to
	seal sealer
	made chan making    // nil unless Prepare was called and the header is not in buf
	more bool           // the key is one that is used again and again
	buf  *[bufSize]byte // nil before the first octet and after Close
	from int            // where the header begins in buf, or headRoom
	n    int            // octets of plaintext in buf
	err  error
}

// NewWriter returns a Writer of one stream to w. Nothing reaches w before the first
// octet is written: an empty message is an empty file, for Dovecot does not read a
// header without a body. Errors are *UnsupportedError or say what the options break.
//
// The memory is some 66 KiB, whatever the size.
func NewWriter(w io.Writer, to *PublicKey, o WriterOptions) (*Writer, error) {
	if o.Rounds == 0 {
		o.Rounds = 1
	}
	if o.Rounds < 0 || o.Rounds > maxRounds {
		return nil, fmt.Errorf("dcrypt: writing a stream: rounds not within 1 to %d", maxRounds)
	}
	h := &Header{Version: o.Version, Rounds: o.Rounds}
	switch o.Version {
	case 0:
		h.Version = 2
	case 1:
		if to.info == nil {
			return nil, &UnsupportedError{What: "RSA key in a version 1 stream"}
		}
		h.Rounds = 0
	case 2:
	default:
		return nil, &UnsupportedError{What: fmt.Sprintf("stream version %d", o.Version)}
	}
	if err := h.chooseSuite(o.Cipher, o.Digest); err != nil {
		return nil, err
	}
	return &Writer{w: w, to: to, head: h, tell: o.KeyData}, nil
}

// chooseSuite sets cipher, digest and integrity for writing.
func (h *Header) chooseSuite(cipher, digest string) (err error) {
	fallback := "aes-256-gcm"
	if h.Version == 1 {
		fallback = "aes-256-ctr"
	}
	if cipher == "" {
		cipher = fallback
	}
	if digest == "" {
		digest = "sha256"
	}
	if h.cipher, err = cipherByName(cipher); err != nil {
		return err
	}
	if h.digest, err = digestByName(digest); err != nil {
		return err
	}
	switch {
	case h.Version == 1:
		if h.cipher.name != fallback || h.digest.name != "sha256" {
			return &UnsupportedError{What: "algorithm of a version 1 stream " + cipher + "-" + digest}
		}
	case h.cipher.oid == nil: // CTR cannot be named in a header
		return &UnsupportedError{What: "cipher " + h.cipher.name + " for a stream"}
	case h.cipher.aead():
		h.Integrity = AEAD
	default:
		h.Integrity = HMAC
	}
	h.Cipher, h.Digest = h.cipher.name, h.digest.name
	return nil
}

// begin makes the header, or waits for it, and puts it before the text.
func (w *Writer) begin() error {
	var m making
	if w.made != nil {
		m = <-w.made
		w.made = nil
	} else {
		m.head, m.kd, m.err = w.head.seal(w.to)
	}
	if m.err != nil {
		return fmt.Errorf("dcrypt: writing a stream: %w", m.err)
	}
	w.kd = m.kd
	var err error
	if w.seal, err = newSealer(w.head, m.kd); err != nil {
		return fmt.Errorf("dcrypt: writing a stream: %w", err)
	}
	if len(m.head) > headRoom {
		return badHeader("header is too large")
	}
	if w.tell != nil && w.head.Integrity == AEAD {
		w.tell(m.head, m.kd)
	}
	w.from = headRoom - len(m.head)
	copy(w.buf[w.from:], m.head)
	return nil
}

// Write encrypts p. After an error the stream is unusable and every call returns the
// error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(p) > 0 && w.buf == nil {
		w.buf = buffers.Get().(*[bufSize]byte)
		if w.made == nil {
			if w.err = w.begin(); w.err != nil {
				return 0, w.err
			}
		}
	}
	written := 0
	for len(p) > 0 {
		if w.n == chunkSize { // full, and known not to be the last
			if w.flush(false); w.err != nil {
				return written, w.err
			}
		}
		n := copy(w.buf[headRoom+w.n:headRoom+chunkSize], p)
		w.n, written, p = w.n+n, written+n, p[n:]
	}
	return written, nil
}

// flush encrypts what is in buf and writes it, with the header if that is still there.
func (w *Writer) flush(last bool) {
	if w.seal == nil {
		if w.err = w.begin(); w.err != nil {
			return
		}
	}
	text := w.buf[headRoom : headRoom+w.n]
	sealed, err := w.seal.seal(text[:w.n:w.n+tailRoom], last)
	if err != nil {
		w.err = fmt.Errorf("dcrypt: writing a stream: %w", err)
		return
	}
	w.n = 0 // no plaintext is left in buf
	if _, err := w.w.Write(w.buf[w.from : headRoom+len(sealed)]); err != nil {
		w.err = fmt.Errorf("dcrypt: writing a stream: %w", err)
	}
	w.from = headRoom
}

// Close writes the rest and the trailer. It does not close the writer below. A stream
// that was not closed, or whose Close failed, does not open.
func (w *Writer) Close() error {
	if w.err == nil && w.buf != nil {
		w.flush(true)
	}
	if w.buf != nil {
		clear(w.buf[headRoom : headRoom+w.n])
		buffers.Put(w.buf)
		w.buf, w.seal = nil, nil
	}
	if w.made != nil {
		m := <-w.made
		w.made, w.kd = nil, m.kd
	}
	clear(w.kd)
	err := w.err
	if err == nil && w.more {
		w.to.ahead.begin(w.head, w.to)
	}
	if err == nil {
		w.err = fmt.Errorf("dcrypt: writing a stream: %w", fs.ErrClosed)
	}
	return err
}
