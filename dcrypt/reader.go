package dcrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"mailcrypt/internal/bufpool"
)

// Streams up to smallStream, or largestStream for some ciphers, are decrypted in memory when they
// are opened, where there is memory for it; larger ones in chunks of chunkSize when they are read.
const (
	smallStream   = bufpool.Medium
	largestStream = bufpool.Max
	chunkSize     = 128 << 10
)

// inMemory is up to which size streams of this cipher are best decrypted in one piece. What an
// AEAD opens in chunks is read and gone over twice.
func (c *cipherInfo) inMemory() int64 {
	if c.aead() {
		return largestStream
	}
	return smallStream
}

// A Reader is one decrypted stream. ReadAt and Size may be called concurrently.
type Reader struct {
	header *Header
	size   int64

	mu    sync.RWMutex // held for writing by Close
	plain []byte       // the whole plaintext of a small stream, in buf
	buf   *bufpool.Buffer
	large *chunks // or how to get at a large one
	done  bool
}

// Open verifies the stream that fills the first size octets of r and returns a reader
// of its plaintext. The key is found by the IDs in the header.
//
// On return the tag or MAC of the whole stream has been checked; a version 1 stream,
// and one that says it has no integrity, cannot be checked. Streams up to 1 MiB, and up to 4
// (up to 16 under an AEAD) while not too many of them are open, are read once, and r is not
// needed any more: Memory is their text. A larger one is read twice, the first time by several
// goroutines at once: r must stay usable until Close and is then read in chunks of at least 128
// KiB. Should its bytes change after Open, reading what changed fails with ErrAuth.
// Memory is bounded: the size of a small stream, some 400 KiB and 1/4096 of the size (never
// above 2 MiB) for a large one.
//
// Errors are *FormatError and *UnsupportedError, wrap ErrNoKey, ErrKeyID, ErrAuth or
// ErrTruncated, or come from r or keys. The caller closes the Reader, not before its
// last use; r stays the caller's.
func Open(r io.ReaderAt, size int64, keys KeyFinder) (*Reader, error) {
	return open(r, size, keys, largestStream)
}

// open is Open with a bound of its own for what is decrypted in memory.
func open(r io.ReaderAt, size int64, keys KeyFinder, largest int64) (*Reader, error) {
	keeper, _ := keys.(KeyDataKeeper)
	o, err := begin(r, size, largest)
	if err != nil {
		return nil, err
	}
	defer o.free()
	if keeper != nil && o.header.Integrity == AEAD {
		if kd := keeper.KeyData(o.header.raw); len(kd) == o.header.keyDataLen() {
			rd, err := o.open(kd)
			if !errors.Is(err, ErrAuth) {
				return rd, err
			}
			// Either the message is damaged or what was kept was not its key data.
		}
	}
	kd, id, err := o.header.findKeyData(keys)
	if err != nil {
		return nil, err
	}
	if keeper == nil || o.header.Integrity != AEAD {
		return o.open(kd)
	}
	learned := bytes.Clone(kd)
	defer clear(learned)
	rd, err := o.open(kd)
	if err == nil {
		keeper.PutKeyData(o.header.raw, id, learned)
	}
	return rd, err
}

// An opening is a stream whose header was read.
type opening struct {
	header *Header
	src    io.ReaderAt
	text   int64           // octets of ciphertext
	small  *bufpool.Buffer // memory for the whole stream, or nil
	loaded bool            // and whether the stream is there
}

func begin(r io.ReaderAt, size, largest int64) (_ *opening, err error) {
	o := &opening{src: r}
	defer func() {
		if err != nil {
			o.free()
		}
	}()
	if size <= min(bufpool.Small, largest) { // whatever the cipher
		o.small = bufpool.Get(int(max(size, 0)))
	}
	if o.small != nil {
		if err := o.load(); err != nil {
			return nil, err
		}
		n, err := headerLen(o.small.B, size)
		if err != nil {
			return nil, err
		}
		o.header, err = parseHeader(bytes.Clone(o.small.B[:n]))
		if err != nil {
			return nil, err
		}
	} else {
		if o.header, err = ReadHeader(r, size); err != nil {
			return nil, err
		}
		if size <= min(o.header.cipher.inMemory(), largest) {
			o.small = bufpool.Get(int(size))
		}
	}
	if o.text = size - o.header.Size - int64(o.header.trailer()); o.text < 0 {
		return nil, ErrTruncated
	}
	return o, nil
}

// load reads the whole of a stream that is to be in memory, unless that was done.
func (o *opening) load() error {
	if o.loaded {
		return nil
	}
	// In pieces: a large copy at once goes past the processor's caches, and what is read is
	// wanted in them.
	const piece = 256 << 10
	for at := 0; at < len(o.small.B); at += piece {
		if err := readFull(o.src, o.small.B[at:min(at+piece, len(o.small.B))], int64(at)); err != nil {
			return err
		}
	}
	o.loaded = true
	return nil
}

// free gives back what no Reader has taken over.
func (o *opening) free() {
	o.small.Free()
	o.small = nil
}

// open verifies the stream under key data, which it clears or keeps.
func (o *opening) open(kd []byte) (*Reader, error) {
	dec, err := newBody(o.header, kd)
	if err != nil {
		clear(kd)
		return nil, fmt.Errorf("dcrypt: opening stream: %w", err)
	}
	rd := &Reader{header: o.header, size: o.text}
	if o.small != nil {
		err = rd.openInMemory(dec, kd, o)
	} else {
		err = rd.openLarge(dec, kd, o.src, int64(o.header.trailer()))
	}
	if err != nil || rd.large == nil {
		clear(kd)
	}
	if err != nil {
		return nil, err
	}
	rd.buf, o.small = o.small, nil
	return rd, nil
}

// openInMemory decrypts a stream that there is memory for.
func (r *Reader) openInMemory(dec body, kd []byte, o *opening) error {
	if gcm, ok := dec.(*gcmBody); ok && !o.loaded && gcm.g.Fused() {
		return r.openSlabs(gcm, o)
	}
	if err := o.load(); err != nil {
		return err
	}
	o.loaded = false // it is decrypted now, or wiped
	return r.openSmall(dec, kd, o.small.B[o.header.Size:], int(o.text))
}

// openSmall verifies and then decrypts b in place, text and trailer.
func (r *Reader) openSmall(dec body, kd, b []byte, text int) error {
	if whole, ok := dec.(wholeBody); ok {
		a, nonce, aad := whole.aead()
		plain, err := a.Open(b[:0], nonce, b, aad)
		if err != nil {
			return ErrAuth
		}
		r.plain = plain
		return nil
	}
	if c := dec.check(); c != nil {
		if err := c.update(b[:text]); err != nil {
			return errTooLong(err)
		}
		if !c.verify(b[text:]) {
			return ErrAuth
		}
	}
	b = b[:text]
	if err := dec.decryptAt(b, 0, ivOf(r.header, kd)); err != nil {
		return err
	}
	if r.header.cipher.mode == modeCBC {
		var err error
		if b, err = unpad(b); err != nil {
			return errPadding(r.header)
		}
	}
	r.plain, r.size = b, int64(len(b))
	return nil
}

// errPadding is what bad padding means: where a MAC has verified, the writer's mistake;
// else most often a missing end.
func errPadding(h *Header) error {
	if h.Integrity == None {
		return fmt.Errorf("%w: bad padding", ErrTruncated)
	}
	return &FormatError{Where: "stream body", Reason: "bad padding"}
}

// openLarge verifies in a first pass over r.
func (r *Reader) openLarge(dec body, kd []byte, src io.ReaderAt, trailer int64) error {
	c, err := newChunks(dec, kd, ivOf(r.header, kd), io.NewSectionReader(src, r.header.Size, r.size+trailer), r.size)
	if err != nil {
		return err
	}
	if r.header.cipher.mode == modeCBC {
		// The padding tells the size. A last chunk cannot be empty.
		last, err := c.chunk((r.size - 1) / c.chunkSize)
		if err != nil {
			return err
		}
		plain, err := unpad(last)
		if err != nil {
			return errPadding(r.header)
		}
		r.size -= int64(len(last) - len(plain))
	}
	r.large = c
	return nil
}

// Size returns the exact length of the plaintext.
func (r *Reader) Size() int64 { return r.size }

// Memory is the whole plaintext where it is in memory, else nil. It must not be changed, nor
// looked at after Close: the memory serves others then.
func (r *Reader) Memory() []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.plain
}

// Header returns the stream's header. It must not be changed.
func (r *Reader) Header() *Header { return r.header }

// ReadAt implements io.ReaderAt. Reading a large stream in order is cheapest.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.done {
		return 0, fmt.Errorf("dcrypt: reading stream: %w", fs.ErrClosed)
	}
	if off < 0 {
		return 0, fmt.Errorf("dcrypt: reading stream at %d: negative offset", off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), r.size-off)]
	n := 0
	if r.large == nil {
		n = copy(want, r.plain[off:])
	} else {
		var err error
		if n, err = r.large.readAt(want, off); err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close wipes the plaintext and drops the message's key. Later reads report an error
// that wraps fs.ErrClosed.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.plain = true, nil
	r.buf.Free()
	r.buf = nil
	if r.large != nil {
		r.large.close()
		r.large = nil
	}
	return nil
}
