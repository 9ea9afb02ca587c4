package storage

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/bufpool"
	"mailcrypt/internal/crlf"
	"mailcrypt/mailbox"
)

// smallSize is the largest message, in bytes with CRLF, that is kept in memory while
// it is open. Above 1 MiB that is only while package bufpool has memory to lend.
const smallSize = 4 << 20

// A Message is one verified plaintext with CRLF line ends. A small one is in memory;
// of a large one only a decoder's buffers are, and reading on where the last read
// stopped costs nothing extra. Reading elsewhere starts at the nearest known place:
// for an uncompressed message that is close by, for a compressed one the beginning.
//
// A Message is not safe for concurrent use.
type Message struct {
	uid   mailbox.UID
	info  mailbox.Message
	form  Form
	sizes mailbox.Sizes
	limit int64

	stored mailbox.Stored
	plain  *dcrypt.Reader // nil: not encrypted

	// The text as it was before encryption, perhaps compressed.
	text     io.ReaderAt
	textSize int64

	small  *bufpool.Buffer // the whole message, unless nil
	nul    bool            // it holds a NUL
	marks  marks
	zip    *compress.Reader
	cursor *crlf.CRLFReader // over zip
	pos    int64            // where the cursor stands
	closed bool
}

// UID is what the message was opened by.
func (m *Message) UID() mailbox.UID { return m.uid }

// Info is what the backend knew of the message when it was opened. Its sizes may be
// wrong; see Sizes.
func (m *Message) Info() mailbox.Message { return m.info }

// Form tells how the message is stored.
func (m *Message) Form() Form { return m.form }

// Size is the exact number of bytes that ReadAt gives out, counted by reading.
func (m *Message) Size() int64 { return m.sizes.Virtual }

// Memory is the whole text where the Message holds it in memory: up to 1 MiB, and up to 4 while
// not too many large messages are open; else nil. It must not be changed, nor looked at after
// Close: the memory serves others then.
func (m *Message) Memory() []byte {
	if m.small == nil {
		return nil
	}
	return m.small.B
}

// HasNUL reports whether the text has a NUL, which mail should not.
func (m *Message) HasNUL() bool { return m.nul }

// Sizes are all three sizes, counted by reading.
func (m *Message) Sizes() mailbox.Sizes { return m.sizes }

// ReadAt implements io.ReaderAt, but for one caller at a time. An error other than
// io.EOF is a *ReadError: the file could be read when the message was opened, and now
// it cannot, or it has changed.
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case m.closed:
		return 0, fmt.Errorf("storage: reading uid %d: %w", m.uid, ErrClosed)
	case off < 0:
		return 0, fmt.Errorf("storage: reading uid %d: negative offset", m.uid)
	case off >= m.Size():
		return 0, io.EOF
	}
	if m.small != nil {
		n := copy(p, m.small.B[off:])
		return n, atEnd(n, p)
	}
	want := p[:min(int64(len(p)), m.Size()-off)]
	n, err := m.readLarge(want, off)
	if err != nil {
		m.dropCursor()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, readError(m.uid, err)
	}
	return n, atEnd(n, p)
}

func atEnd(n int, p []byte) error {
	if n < len(p) {
		return io.EOF
	}
	return nil
}

func (m *Message) readLarge(p []byte, off int64) (int, error) {
	if m.cursor == nil || off < m.pos || off > m.pos+m.marks.every && m.marks.before(off).Virtual > m.pos {
		if err := m.start(m.marks.before(off)); err != nil {
			return 0, err
		}
	}
	if m.pos < off {
		var skip [4 << 10]byte
		defer clear(skip[:])
		for m.pos < off {
			n, err := m.cursor.Read(skip[:min(int64(len(skip)), off-m.pos)])
			m.pos += int64(n)
			if err != nil {
				return 0, err
			}
		}
	}
	n := 0
	for n < len(p) {
		k, err := m.cursor.Read(p[n:])
		n, m.pos = n+k, m.pos+int64(k)
		if err != nil && n < len(p) {
			return n, err
		}
	}
	return n, nil
}

// start puts a new cursor at a mark.
func (m *Message) start(at crlf.Mark) error {
	m.dropCursor()
	section := io.NewSectionReader(m.text, at.Physical, m.textSize-at.Physical)
	z, err := compress.NewReader(section, m.form.Compression, m.decodeLimit())
	if err != nil {
		return err
	}
	m.zip, m.cursor, m.pos = z, crlf.NewCRLFReaderAt(z, at), at.Virtual
	return nil
}

func (m *Message) dropCursor() {
	if m.cursor != nil {
		m.cursor.Clear()
		m.zip.Close()
	}
	m.cursor, m.zip, m.pos = nil, nil, 0
}

// Close forgets the plaintext and the message key. It may be called more than once.
func (m *Message) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	m.dropCursor()
	m.small.Free()
	m.small = nil
	return m.release()
}

// release closes what a message in memory does not need any more.
func (m *Message) release() error {
	var err error
	if m.plain != nil {
		err = m.plain.Close()
	}
	if m.stored != nil {
		err = errors.Join(err, m.stored.Close())
	}
	m.plain, m.stored, m.text = nil, nil, nil
	if err != nil {
		return fmt.Errorf("storage: closing uid %d: %w", m.uid, err)
	}
	return nil
}

// Marks are places of an uncompressed message from which a cursor can start. There
// are at most maxMarks: when there are more, every second goes and the distance
// doubles.
type marks struct {
	at    []crlf.Mark
	every int64
}

const (
	firstEvery = 128 << 10
	maxMarks   = 512
)

func (k *marks) add(m crlf.Mark) {
	if k.every == 0 {
		k.every = firstEvery
	}
	if len(k.at) > 0 && m.Virtual-k.at[len(k.at)-1].Virtual < k.every {
		return
	}
	k.at = append(k.at, m)
	if len(k.at) > maxMarks {
		for i := range (len(k.at) + 1) / 2 {
			k.at[i] = k.at[2*i]
		}
		k.at = k.at[:(len(k.at)+1)/2]
		k.every *= 2
	}
}

// before returns the last mark at or before a place; the zero Mark is the beginning.
func (k *marks) before(virtual int64) crlf.Mark {
	i := sort.Search(len(k.at), func(i int) bool { return k.at[i].Virtual > virtual })
	if i == 0 {
		return crlf.Mark{}
	}
	return k.at[i-1]
}
