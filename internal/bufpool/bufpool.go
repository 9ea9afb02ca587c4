// Package bufpool lends memory for whole messages. A message that is decrypted in one piece
// costs one pass over it; new memory for each would cost as much again, for the collector,
// for zeros and for page faults.
//
// What waits in the pool is overwritten: no plaintext outlives its message there, and nobody
// gets to see another one's. The collector frees what nobody uses for a while.
package bufpool

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// Small is up to how many octets there is always a buffer.
	Small = 1 << 20
	// Medium is of an encrypted message of 4 MiB, with what is around it.
	Medium = 4<<20 + around
	// Max is the largest buffer: of an encrypted message of 16 MiB, with what is around it.
	Max = 16<<20 + around

	around = 64 << 10
	// maxLarge is how many octets the buffers above Small have together in this process, and
	// maxHuge, of these, those above Medium: who finds none works in small pieces. So memory
	// stays bounded however many large messages are being read, and the few largest leave half
	// of it to the others.
	maxLarge = 64 << 20
	maxHuge  = maxLarge/2 + 2*around
)

// minShift is the binary logarithm of the smallest buffer.
const minShift = 12

// mediumClass is the size of the buffers that Medium octets get.
const mediumClass = 5 << 20

// classes are pools of buffers of one size each: four sizes for each power of two, so that at
// most a fifth of a buffer is unused. None is larger than Max.
var classes [4 * 14]sync.Pool

// large and huge are how many octets of buffers above Small and above Medium are lent.
var large, huge atomic.Int64

// reserve counts a buffer of size octets as lent, if there is room for it.
func reserve(size int) bool {
	n := int64(size)
	if size > Small && large.Add(n) > maxLarge {
		large.Add(-n)
		return false
	}
	if size > mediumClass && huge.Add(n) > maxHuge {
		huge.Add(-n)
		large.Add(-n)
		return false
	}
	return true
}

func release(size int) {
	n := int64(size)
	if size > Small {
		large.Add(-n)
	}
	if size > mediumClass {
		huge.Add(-n)
	}
}

// A Buffer is memory that was lent. B may be cut and changed, but not grown above the length
// that was asked for.
type Buffer struct {
	B []byte

	whole []byte
	used  int // of whole, that may have been written to
	class int
}

// class is the smallest class of at least n octets, and its size.
func class(n int) (c, size int) {
	if n <= 1<<minShift {
		return 0, 1 << minShift
	}
	shift := bits.Len(uint(n-1)) - 1 // 1<<shift < n <= 2<<shift
	quarter := 1 << (shift - 2)
	k := (n - 1<<shift + quarter - 1) / quarter // 1 to 4
	return 4*(shift-minShift) + k, min(1<<shift+k*quarter, Max)
}

// Get lends n octets of unknown contents, or nil where n is above Max, or above Small while too
// many such buffers are lent, or too many above Medium. The caller frees it.
func Get(n int) *Buffer {
	if n < 0 || n > Max {
		return nil
	}
	c, size := class(n)
	if !reserve(size) {
		return nil
	}
	b, _ := classes[c].Get().(*Buffer)
	if b == nil {
		b = &Buffer{whole: make([]byte, size), class: c}
	}
	b.B, b.used = b.whole[:n:n], n
	return b
}

// Make is Get for who cannot do without: where nothing is lent it makes a buffer.
func Make(n int) *Buffer {
	if b := Get(n); b != nil {
		return b
	}
	return &Buffer{B: make([]byte, n), class: -1}
}

// Free overwrites the buffer and gives it back: nobody may use it any more. Of nil it does
// nothing.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	if b.class < 0 {
		clear(b.B)
		return
	}
	b.B = nil
	clear(b.whole[:b.used])
	release(len(b.whole))
	classes[b.class].Put(b)
}
