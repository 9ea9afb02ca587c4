// Package sha256loop runs SHA-256 many times over short inputs: PBKDF2 (RFC 8018) and the
// chain of digests that guards the key data of an encrypted stream.
//
// Both are thousands of compressions, each of a block that holds the result of the one
// before. Through hash.Hash and crypto/hmac, resetting, padding and copying states cost
// more than the compressions do. Here a state is eight words, and all blocks but the first
// ones have padding that never changes. On amd64 with the SHA extensions the loop is in
// assembler, and compresses for two blocks of PBKDF2 at a time: one compression is a chain of
// instructions that wait for each other, so the second fits in between. Elsewhere, and
// where crypto/fips140 is enabled, the standard library does the work.
package sha256loop
