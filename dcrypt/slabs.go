package dcrypt

import (
	"fmt"

	"mailcrypt/internal/gcmstream"
)

// openSlabs is openSmall of AES-GCM for a text that the processor's caches do not hold: each slab
// is decrypted as soon as it is read, while it is near, by several processors at once. What is
// in memory is nobody's to see before the tag has proved it, and is overwritten if it does not.
func (r *Reader) openSlabs(dec *gcmBody, o *opening) error {
	b := o.small.B[o.header.Size:]
	text, trailer := b[:o.text], b[o.text:]
	length := func(i int64) int64 { return min(chunkSize, o.text-i*chunkSize) }
	pieces, err := dec.g.Pieces(chunkSize)
	if err != nil {
		return fmt.Errorf("dcrypt: opening stream: %w", err)
	}
	marks := make([]gcmstream.Mark, (o.text+chunkSize-1)/chunkSize)
	err = share(int64(len(marks)), func() (work func(int64) error, end func()) {
		return func(i int64) (err error) {
			at := i * chunkSize
			slab := text[at : at+length(i)]
			if err = readFull(o.src, slab, o.header.Size+at); err == nil {
				marks[i], err = pieces.Decrypt(slab, at)
			}
			return err
		}, func() {}
	})
	if err == nil {
		err = readFull(o.src, trailer, o.header.Size+o.text)
	}
	if err == nil {
		err = dec.verifyMarks(marks, length, trailer)
	}
	if err != nil {
		clear(b)
		return err
	}
	r.plain = text
	return nil
}
