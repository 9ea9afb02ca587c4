// Package p521 is the arithmetic of the curve secp521r1, Dovecot's usual one (NIST P-521, SEC 2
// section 2.6.1; FIPS 186-4 D.1.2.5).
//
// It exists for speed alone: each message costs an agreement on its folder's curve, and the portable
// code of the standard library takes some eight times as long for one as OpenSSL, which Dovecot has. What it
// computes is checked against crypto/ecdh.
//
// Processors with AVX-512 IFMA multiply by tables in eight lanes, see Table.mulWide; the others, and the few
// scalars that its formulas do not hold for, take one sum and the ordinary multiplications.
//
// Nothing branches on a secret scalar or indexes memory by it, but for one case which scalars meet with
// negligible chance: see accumulator.add and wideSum.
package p521
