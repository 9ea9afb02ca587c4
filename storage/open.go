package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/bufpool"
	"mailcrypt/internal/crlf"
	"mailcrypt/mailbox"
)

// Open verifies a message and returns its plaintext. Where the message cannot be
// read the error is a *ReadError, before anything was given out; where it is gone,
// it wraps mailbox.ErrNotFound. keys may be nil, which opens what is not encrypted.
// The caller closes the Message.
//
// Sizes that the backend has recorded are compared with what was counted. Where the
// message proved intact the backend is told the right ones; where nothing could
// verify it, a wrong size is all that shows a cut, and the message is Damaged.
func (s *Store) Open(ctx context.Context, uid mailbox.UID, keys dcrypt.KeyFinder) (_ *Message, err error) {
	st, err := s.openStored(ctx, uid)
	if err != nil {
		return nil, err
	}
	m := &Message{uid: uid, info: st.Message(), stored: st, limit: s.limit}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := m.open(ctx, keys); err != nil {
		return nil, readError(uid, err)
	}
	wrong, err := m.checkSizes()
	if err != nil {
		return nil, readError(uid, err)
	}
	if wrong {
		// It is a cache: the message is served whether or not the backend can note it.
		_ = s.backend.RecordSizes(ctx, uid, m.sizes)
	}
	if m.small != nil {
		if err := m.release(); err != nil {
			return nil, readError(uid, err)
		}
	}
	return m, nil
}

func (s *Store) openStored(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	st, err := s.backend.Open(ctx, uid)
	if err != nil {
		return nil, readError(uid, err)
	}
	return st, nil
}

// A Form is how a message was found stored.
type Form struct {
	Header      *dcrypt.Header // nil: not encrypted
	Compression compress.Method
	// Verified says that a tag, a MAC or a checksum covered the whole message. A
	// checksum finds damage and stops nobody who alters mail on purpose.
	Verified bool
}

// noKeys finds none.
type noKeys struct{}

func (noKeys) PrivateKey(id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	return nil, fmt.Errorf("key %s: %w", id, dcrypt.ErrNoKey)
}

// open peels off encryption and reads through the message once.
func (m *Message) open(ctx context.Context, keys dcrypt.KeyFinder) error {
	m.text, m.textSize = m.stored, m.stored.Size()
	head, err := prefix(m.text, m.textSize)
	if err != nil {
		return err
	}
	if dcrypt.IsEncrypted(head) {
		if keys == nil {
			keys = noKeys{}
		}
		r, err := dcrypt.Open(m.stored, m.stored.Size(), keys)
		if err != nil {
			return err
		}
		m.plain = r
		m.form.Header = r.Header()
		m.form.Verified = m.form.Header.Integrity != dcrypt.None
		m.text, m.textSize = r, r.Size()
		if head, err = prefix(r, r.Size()); err != nil {
			return err
		}
	}
	m.form.Compression = compress.Detect(head)
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.form.Compression == compress.None && m.inMemory() {
		return nil
	}
	return m.readThrough(ctx)
}

// inMemory reads a text that is not compressed in one piece. It returns false where it is too
// large for that, or anything goes wrong.
func (m *Message) inMemory() bool {
	if m.plain != nil {
		return m.expand(m.plain.Memory())
	}
	if m.textSize > smallSize {
		return false
	}
	buf := bufpool.Get(int(m.textSize))
	if buf == nil {
		return false
	}
	defer buf.Free()
	n, _ := m.text.ReadAt(buf.B, 0)
	return n == len(buf.B) && m.expand(buf.B)
}

// expand turns a text that is in memory, in one pass. It returns false where it is too large,
// or not in memory.
func (m *Message) expand(text []byte) bool {
	if text == nil || len(text) > smallSize {
		return false
	}
	var count crlf.Counter
	count.Write(text)
	if count.Virtual() > smallSize {
		return false
	}
	if m.small = bufpool.Get(int(count.Virtual())); m.small == nil {
		return false
	}
	crlf.Expand(m.small.B, text)
	m.nul = bytes.IndexByte(text, 0) >= 0
	m.sizes = mailbox.Sizes{Physical: count.Physical(), Virtual: count.Virtual(), Stored: m.stored.Size()}
	return true
}

// prefix returns as many first bytes as any magic has.
func prefix(r io.ReaderAt, size int64) ([]byte, error) {
	head := make([]byte, min(size, compress.MaxMagic))
	n, err := r.ReadAt(head, 0)
	if n == len(head) {
		return head, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // shorter than it said
	}
	return nil, err
}

// readThrough decodes the whole message to count it. A small one is kept; of a large
// uncompressed one, marks are kept from which to start again.
func (m *Message) readThrough(ctx context.Context) error {
	z, err := compress.NewReader(io.NewSectionReader(m.text, 0, m.textSize), m.form.Compression, m.decodeLimit())
	if err != nil {
		return err
	}
	defer z.Close()
	var sizes interface {
		Physical() int64
		Virtual() int64
	}
	if m.info.Sizes.Virtual > smallSize || m.plain != nil && m.plain.Memory() == nil {
		// Nothing will be kept, so that it need not be turned.
		var count crlf.Counter
		sizes = &count
		err = m.pump(ctx, io.TeeReader(z, &count), count.Mark, func([]byte) {})
	} else {
		text := crlf.NewCRLFReader(z)
		defer text.Clear()
		k := newKeeper(m.info.Sizes.Virtual, m.textSize)
		sizes = text
		if err = m.pump(ctx, text, text.Mark, k.add); err != nil {
			k.drop()
		}
		m.small = k.text
	}
	if err != nil {
		return err
	}
	m.form.Verified = m.form.Verified || z.Verified()
	m.sizes = mailbox.Sizes{Physical: sizes.Physical(), Virtual: sizes.Virtual(), Stored: m.stored.Size()}
	return nil
}

// pieceSize is how much is read at a time: what a processor's nearest cache holds.
const pieceSize = 32 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// pump reads a text to its end. mark is where it stands.
func (m *Message) pump(ctx context.Context, text io.Reader, mark func() crlf.Mark, keep func([]byte)) error {
	piece := pieces.Get().(*[pieceSize]byte)
	used := 0
	defer func() {
		clear(piece[:used])
		pieces.Put(piece)
	}()
	for count := 0; ; count++ {
		if count%32 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if m.form.Compression == compress.None {
			m.marks.add(mark())
		}
		n, err := text.Read(piece[:])
		used = max(used, n)
		keep(piece[:n])
		m.nul = m.nul || bytes.IndexByte(piece[:n], 0) >= 0
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// decodeLimit bounds what a decoder gives out. Nothing comes out of an uncompressed
// message that was not on the disk.
func (m *Message) decodeLimit() int64 {
	if m.form.Compression == compress.None {
		return m.textSize
	}
	return m.limit
}

// checkSizes compares what was counted with what was recorded, and reports whether
// the record should be put right.
func (m *Message) checkSizes() (wrong bool, err error) {
	is, was := m.sizes, m.info.Sizes
	differs := was.Physical != mailbox.Unknown && was.Physical != is.Physical ||
		was.Virtual != mailbox.Unknown && was.Virtual != is.Virtual
	if differs && !m.form.Verified {
		// A plain file whose size does not fit was edited by hand, as people do in a
		// Maildir. One without a byte was cut, by a full disk or a crash; one with a NUL
		// is no text but what is left of a stream that lost its magic.
		plain := m.form.Header == nil && m.form.Compression == compress.None
		if !plain || is.Stored == 0 || m.nul {
			return false, fmt.Errorf("%w: physical %d, virtual %d, recorded %d and %d", errSize,
				is.Physical, is.Virtual, was.Physical, was.Virtual)
		}
	}
	return differs || was.Physical == mailbox.Unknown || was.Virtual == mailbox.Unknown, nil
}

// A keeper keeps a text as long as it is small, and there is memory for it.
type keeper struct {
	text  *bufpool.Buffer
	large bool
}

// newKeeper takes the sizes as a hint only: they may be wrong.
func newKeeper(virtual, size int64) *keeper {
	if virtual < 0 {
		virtual = size + size/32
	}
	k := &keeper{}
	k.grow(int(min(virtual, smallSize)))
	return k
}

// grow makes room for n bytes.
func (k *keeper) grow(n int) {
	more := bufpool.Get(n)
	if more == nil {
		k.drop()
		return
	}
	room := more.B
	more.B = room[:0]
	if k.text != nil {
		more.B = room[:copy(room, k.text.B)]
		k.text.Free()
	}
	k.text = more
}

func (k *keeper) add(p []byte) {
	if k.large {
		return
	}
	n := len(k.text.B) + len(p)
	if n > smallSize {
		k.drop()
		return
	}
	if n > cap(k.text.B) {
		if k.grow(int(min(max(n, 2*len(k.text.B)), smallSize))); k.large {
			return
		}
	}
	k.text.B = append(k.text.B, p...)
}

// drop forgets what was kept.
func (k *keeper) drop() {
	k.text.Free()
	k.text, k.large = nil, true
}
