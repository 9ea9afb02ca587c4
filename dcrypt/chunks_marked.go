package dcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// markedPasses are those of any cipher. A mark is a GMAC under a key that was drawn for this
// reader and never leaves it, which costs some 6 us for 64 KiB.
type markedPasses struct {
	dec   body
	iv    []byte
	gmac  cipher.AEAD
	marks []mark // nil where nothing verifies the stream: nothing to keep hold of
}

// A mark is what the first pass keeps of a chunk.
type mark struct {
	tag  [16]byte
	prev [aes.BlockSize]byte // the ciphertext before the chunk, which CBC and CFB need
}

func (p *markedPasses) verify(c *chunks) error {
	check := p.dec.check()
	if check == nil {
		return nil
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	clear(key[:])
	if p.gmac, err = cipher.NewGCM(block); err != nil {
		return fmt.Errorf("dcrypt: opening stream: %w", err)
	}
	marks, lent := make([]mark, c.count()), c.buffer()
	defer lent.Free()
	var prev [aes.BlockSize]byte
	copy(prev[:], p.iv)
	for i := range marks {
		b, err := c.ciphertext(int64(i), lent.B)
		if err != nil {
			return err
		}
		marks[i] = mark{tag: p.tag(int64(i), b), prev: prev}
		copy(prev[:], b[max(0, len(b)-aes.BlockSize):])
		if err := check.update(b); err != nil {
			return errTooLong(err)
		}
	}
	trailer, err := c.trailer()
	if err != nil {
		return err
	}
	if !check.verify(trailer) {
		return ErrAuth
	}
	p.marks = marks
	return nil
}

// tag is the GMAC of a chunk, with its number as nonce. A number that comes again with
// other ciphertext would endanger the key only if tags were given out.
func (p *markedPasses) tag(i int64, b []byte) (tag [16]byte) {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], uint64(i))
	p.gmac.Seal(tag[:0], nonce[:], nil, b)
	return tag
}

func (p *markedPasses) decrypt(c *chunks, i int64, b []byte) error {
	prev := p.iv
	if p.marks != nil {
		tag := p.tag(i, b)
		if subtle.ConstantTimeCompare(tag[:], p.marks[i].tag[:]) != 1 {
			return errChanged()
		}
		prev = p.marks[i].prev[:]
	} else if i > 0 {
		var before [aes.BlockSize]byte
		if err := readFull(c.src, before[:], i*c.chunkSize-aes.BlockSize); err != nil {
			return err
		}
		prev = before[:]
	}
	return p.dec.decryptAt(b, i*c.chunkSize, prev)
}
