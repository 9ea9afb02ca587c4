package dcrypt

import (
	"errors"
	"fmt"

	"mailcrypt/internal/gcmstream"
)

// gcmPasses are those of AES-GCM, where the hash of a chunk serves twice: the hashes of all give
// the tag, and each is what its chunk has to have in the second pass, which checks and
// decrypts in one go. Chunks are hashed by several processors at the same time.
type gcmPasses struct {
	*gcmBody
	marks  []gcmstream.Mark
	pieces *gcmstream.Pieces
}

func (p *gcmPasses) verify(c *chunks) error {
	if c.size > gcmstream.MaxSize {
		return errTooLong(gcmstream.ErrTooLong)
	}
	var err error
	if p.pieces, err = p.g.Pieces(int(c.chunkSize)); err != nil {
		return fmt.Errorf("dcrypt: opening stream: %w", err)
	}
	p.marks = make([]gcmstream.Mark, c.count())
	if err := p.hash(c); err != nil {
		return err
	}
	trailer, err := c.trailer()
	if err != nil {
		return err
	}
	return p.verifyMarks(p.marks, c.length, trailer)
}

// verifyMarks compares the tag that the marks of all pieces of a stream make.
func (b *gcmBody) verifyMarks(marks []gcmstream.Mark, length func(i int64) int64, trailer []byte) error {
	v := b.g.NewVerifier(b.aad)
	for i, m := range marks {
		if err := v.Add(m, int(length(int64(i)))); err != nil {
			return errTooLong(err)
		}
	}
	if !v.Verify(trailer) {
		return ErrAuth
	}
	return nil
}

// hash makes the marks.
func (p *gcmPasses) hash(c *chunks) error {
	return share(c.count(), func() (work func(int64) error, end func()) {
		lent := c.buffer()
		return func(i int64) error {
			b, err := c.ciphertext(i, lent.B)
			if err == nil {
				p.marks[i] = p.pieces.Mark(b)
			}
			return err
		}, lent.Free
	})
}

func (p *gcmPasses) decrypt(c *chunks, i int64, b []byte) error {
	err := p.pieces.Open(b[:len(b)+spare], i*c.chunkSize, p.marks[i])
	if errors.Is(err, gcmstream.ErrPiece) {
		return errChanged()
	}
	return err
}
