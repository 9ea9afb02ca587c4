package gcmwide

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

// BlockSize is AES's, in octets.
const BlockSize = 16

// turn is how many octets one turn of the assembler's loops takes: the powers of H up to as many
// blocks are kept.
const turn = 512

// ErrUnavailable reports a processor without the instructions, or that crypto/fips140 is
// enabled: the caller takes crypto/cipher instead.
var ErrUnavailable = errors.New("gcmwide: not on this processor, or not allowed")

// A Key is one AES key, expanded, and the powers of its hash key H = E(0). It is safe for
// concurrent use, and is the caller's to forget. It implements cipher.AEAD.
type Key struct {
	schedule [15 * BlockSize]byte // round keys (FIPS 197 section 5.2)
	rounds   int                  // 10, 12 or 14

	// H^32 to H^1, each divided by x (see double), and what a load of the last may read past it.
	// Loads are faster where they cross no cache line: memory of this size comes at multiples of
	// 64 octets, and this lies at another.
	_      [64 - unsafe.Sizeof(int(0)) - 3*BlockSize]byte
	powers [turn + 48]byte
}

// New expands a key of 16, 24 or 32 octets. It fails with ErrUnavailable where Available does
// not report true.
func New(key []byte) (*Key, error) {
	if !Available() {
		return nil, ErrUnavailable
	}
	switch len(key) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("gcmwide: key has %d octets, want 16, 24 or 32", len(key))
	}
	k := &Key{rounds: len(key)/4 + 6}
	k.expand(key)
	var h [BlockSize]byte
	k.EncryptBlock(&h)
	start := double(&h)
	powers(k, &start)
	clear(h[:])
	clear(start[:])
	return k, nil
}

// expand is FIPS 197's KeyExpansion, with words in the order of memory: the first octet is
// the lowest.
func (k *Key) expand(key []byte) {
	n := copy(k.schedule[:], key)
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(k.schedule[at:]) }
	rcon := uint32(1)
	for at := n; at < (k.rounds+1)*BlockSize; at += 4 {
		w := word(at - 4)
		switch {
		case at%n == 0:
			w = subWord(bits.RotateLeft32(w, -8)) ^ rcon
			rcon = rcon<<1 ^ rcon>>7*0x11b
		case n == 32 && at%n == 16:
			w = subWord(w)
		}
		binary.LittleEndian.PutUint32(k.schedule[at:], w^word(at-n))
	}
}

// double takes a block as an element of GF(2^128), turned around: a number whose highest bit is
// the constant term. Shifting it left divides it by x; the constant term that falls out comes
// back as 1/x = x^127 + x^6 + x + 1. That makes up for the product of two such numbers, which
// comes out shifted right by one bit.
func double(b *[BlockSize]byte) [2]uint64 {
	high, low := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	out := -(high >> 63)
	return [2]uint64{low<<1 ^ out&1, high<<1 ^ low>>63 ^ out&(0xc2<<56)}
}

// EncryptBlock is AES of one block, in place.
func (k *Key) EncryptBlock(b *[BlockSize]byte) {
	counter := *b
	clear(b[:])
	ctr(k, &counter, &b[0], &b[0], BlockSize)
}

// A Block is a state of GHASH, or a counter block.
type Block = [BlockSize]byte

// most is how many octets the assembler is given at a time: it cannot be stopped, and the
// collector may be waiting for this goroutine.
const most = 1 << 20

// Hash adds text to the state of a GHASH; text that is not whole blocks is filled up with zeros.
func (k *Key) Hash(state *Block, text []byte) {
	for len(text) > 0 {
		n := min(len(text), most)
		ghash(k, state, &text[0], n)
		text = text[n:]
	}
}

// advance adds blocks to the last word of a counter block, and nothing to the others.
func advance(counter *Block, octets int) {
	last := counter[BlockSize-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+uint32(octets/BlockSize))
}

// XORKeyStream encrypts src into dst, which is src or does not overlap it, and has at least its
// length. The counter block, whose last word alone counts, is left behind the last whole block.
func (k *Key) XORKeyStream(counter *Block, dst, src []byte) {
	for len(src) > 0 {
		n := min(len(src), most)
		ctr(k, counter, &dst[:n][0], &src[0], n)
		advance(counter, n)
		dst, src = dst[n:], src[n:]
	}
}

// Encrypt encrypts src into dst as XORKeyStream does, and adds the result to the state as Hash
// does.
func (k *Key) Encrypt(counter, state *Block, dst, src []byte) {
	for len(src) > 0 {
		n := min(len(src), most)
		k.encrypt(counter, state, dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
}

// encrypt hashes what the turn before has made.
func (k *Key) encrypt(counter, state *Block, dst, src []byte) {
	hashed := 0
	if turns := len(src)/turn - 1; turns > 0 {
		k.XORKeyStream(counter, dst[:turn], src[:turn])
		crypt(k, counter, state, &dst[turn], &src[turn], &dst[0], turns)
		hashed = turns * turn
		advance(counter, hashed)
		k.XORKeyStream(counter, dst[turn+hashed:], src[turn+hashed:])
	} else {
		k.XORKeyStream(counter, dst, src)
	}
	k.Hash(state, dst[hashed:])
}

// Decrypt adds src to the state as Hash does, and decrypts it into dst as XORKeyStream does. The
// caller lets nobody see dst before the tag is checked, and clears it if that fails.
func (k *Key) Decrypt(counter, state *Block, dst, src []byte) {
	for len(src) > 0 {
		n := min(len(src), most)
		k.decrypt(counter, state, dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
}

func (k *Key) decrypt(counter, state *Block, dst, src []byte) {
	if turns := len(src) / turn; turns > 0 {
		crypt(k, counter, state, &dst[0], &src[0], &src[0], turns)
		advance(counter, turns*turn)
		dst, src = dst[turns*turn:], src[turns*turn:]
	}
	k.Hash(state, src)
	k.XORKeyStream(counter, dst, src)
}
