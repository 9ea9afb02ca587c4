// Package gcmwide is AES-GCM (NIST SP 800-38D) with the instructions of newer amd64 processors
// that work on four blocks at once: VAES and VPCLMULQDQ on the 512-bit registers of AVX-512.
//
// It exists for speed alone. The standard library's assembler works on one block an instruction;
// this has more than twice its speed, and gives out the parts (the hash, the key stream, both
// at once) of which package gcmstream puts messages in pieces together. New refuses where the
// instructions are missing, with the build tag purego, and where crypto/fips140 is enabled:
// there callers use crypto/cipher. What it computes is checked against that.
//
// Nothing branches on a secret or reads memory at a secret place. The registers are cleared
// before the assembler returns.
//
// GHASH sums products in GF(2^128). With the octets of a block turned around, its bits are in the
// order of a binary number whose highest bit is the constant term, which carry-less
// multiplication takes as it is. The state after n blocks is
//
//	(Y^X1)*H^n ^ X2*H^(n-1) ^ ... ^ Xn*H
//
// so 32 products are summed before they are reduced, once.
package gcmwide
