package dcrypt

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

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

// hashers is by how many goroutines a stream is hashed: memory is no faster than for some.
const hashers = 4

// hashChunks is how many chunks a goroutine must have to be worth its start.
const hashChunks = 8

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
	v := p.g.NewVerifier(p.aad)
	for i, m := range p.marks {
		if err := v.Add(m, int(c.length(int64(i)))); err != nil {
			return errTooLong(err)
		}
	}
	trailer, err := c.trailer()
	if err != nil {
		return err
	}
	if !v.Verify(trailer) {
		return ErrAuth
	}
	return nil
}

// hash makes the marks.
func (p *gcmPasses) hash(c *chunks) error {
	var next atomic.Int64
	var failed atomic.Bool
	work := func() error {
		lent := c.buffer()
		defer lent.Free()
		for !failed.Load() {
			i := next.Add(1) - 1
			if i >= c.count() {
				break
			}
			b, err := c.ciphertext(i, lent.B)
			if err != nil {
				failed.Store(true)
				return err
			}
			p.marks[i] = p.pieces.Mark(b)
		}
		return nil
	}
	var others sync.WaitGroup
	errs := make([]error, min(int64(hashers), int64(runtime.GOMAXPROCS(0)), c.count()/hashChunks+1))
	for k := range errs[1:] {
		others.Go(func() { errs[k+1] = work() })
	}
	errs[0] = work()
	others.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *gcmPasses) decrypt(c *chunks, i int64, b []byte) error {
	err := p.pieces.Open(b[:len(b)+spare], i*c.chunkSize, p.marks[i])
	if errors.Is(err, gcmstream.ErrPiece) {
		return errChanged()
	}
	return err
}
