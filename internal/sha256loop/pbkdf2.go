package sha256loop

import (
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

const blockSize = sha256.BlockSize

// lanes is PBKDF2 for two blocks that have one password. The assembler knows its layout.
type lanes struct {
	inner, outer [8]uint32    // states of HMAC once the key is in: it is whole blocks
	u            [2][8]uint32 // the last PRF of each block
	t            [2][8]uint32 // all of them together, by XOR
}

// maxRun is how many rounds run at a time. The assembler cannot be interrupted, so this bounds
// how long the garbage collector of the process waits: for some 0.1 ms.
const maxRun = 1000

// PBKDF2 is that of RFC 8018 section 5.2 with HMAC-SHA-256: size octets. The standard
// library's takes the password as a string, which could not be cleared.
func PBKDF2(password, salt []byte, rounds, size int) []byte {
	if !accelerated || fips140.Enabled() {
		return Generic(sha256.New, password, salt, rounds, size)
	}
	key := password
	if len(key) > blockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
		defer clear(key)
	}
	var l lanes
	defer func() { l = lanes{} }()
	l.inner, l.outer = keyed(key, 0x36), keyed(key, 0x5c)

	// The first PRF is of the salt, which may be long.
	prf := hmac.New(sha256.New, password)
	var buf [sha256.Size]byte
	defer clear(buf[:])
	out := make([]byte, 0, (size+2*sha256.Size-1)/(2*sha256.Size)*2*sha256.Size)
	for block := uint32(1); len(out) < size; block += 2 {
		for i := range l.u {
			prf.Reset()
			prf.Write(salt)
			prf.Write(binary.BigEndian.AppendUint32(nil, block+uint32(i)))
			l.u[i] = words(prf.Sum(buf[:0]))
		}
		l.t = l.u
		for left := rounds - 1; left > 0; left -= maxRun {
			iterate(&l, min(left, maxRun))
		}
		for i := range l.t {
			for _, w := range l.t[i] {
				out = binary.BigEndian.AppendUint32(out, w)
			}
		}
	}
	clear(out[size:])
	return out[:size]
}

// keyed is the state of SHA-256 after a block of key bytes, each XORed with pad.
func keyed(key []byte, pad byte) [8]uint32 {
	var b [blockSize]byte
	defer clear(b[:])
	copy(b[:], key)
	for i := range b {
		b[i] ^= pad
	}
	state := initial
	compress(&state, &b)
	return state
}

// initial is the first state of SHA-256 (FIPS 180-4 section 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

func words(b []byte) (w [8]uint32) {
	for i := range w {
		w[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return w
}

// Generic is PBKDF2 with HMAC over any hash.
func Generic(h func() hash.Hash, password, salt []byte, rounds, size int) []byte {
	prf := hmac.New(h, password)
	out := make([]byte, 0, size+prf.Size())
	u := make([]byte, 0, prf.Size())
	for block := uint32(1); len(out) < size; block++ {
		prf.Reset()
		prf.Write(salt)
		prf.Write(binary.BigEndian.AppendUint32(nil, block))
		at := len(out)
		out = prf.Sum(out)
		t := out[at:]
		u = append(u[:0], t...)
		for range rounds - 1 {
			prf.Reset()
			prf.Write(u)
			u = prf.Sum(u[:0])
			for i := range t {
				t[i] ^= u[i]
			}
		}
	}
	clear(u)
	return out[:size]
}
