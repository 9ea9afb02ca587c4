package dcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// CFB with 128-bit feedback (NIST SP 800-38A section 6.3). crypto/cipher has it, but
// deprecated and not from an arbitrary block on, which reading at an offset needs.

// decryptCFB decrypts b in place. prev is the block of ciphertext before b, or the IV.
func decryptCFB(block cipher.Block, prev, b []byte) {
	var feedback, stream [aes.BlockSize]byte
	copy(feedback[:], prev)
	for len(b) > 0 {
		block.Encrypt(stream[:], feedback[:])
		n := copy(feedback[:], b)
		subtle.XORBytes(b[:n], b[:n], stream[:])
		b = b[n:]
	}
}

// encryptCFB encrypts b in place and leaves the last whole block of ciphertext in
// prev, so that a text may come in pieces. All pieces but the last are whole blocks.
func encryptCFB(block cipher.Block, prev, b []byte) {
	var stream [aes.BlockSize]byte
	for len(b) > 0 {
		block.Encrypt(stream[:], prev)
		n := min(len(b), aes.BlockSize)
		subtle.XORBytes(b[:n], b[:n], stream[:])
		copy(prev, b[:n])
		b = b[n:]
	}
}
