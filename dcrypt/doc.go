// Package dcrypt reads and writes the bytes of Dovecot's lib-dcrypt: the encrypted
// streams in which its mail-crypt plugin stores messages, and the texts in which it
// keeps keys. It knows no user, mailbox or path.
//
// # Streams
//
// Integers are big-endian. The default algorithm is aes-256-gcm-sha256; D is the digest
// that the header names.
//
//	version 2 = "CRYPTED" 03 07 02 flags(4) H(4) cipher-OID digest-OID rounds(4)
//	            K(4) N(1) N*recipient hash-length(4) hash [padding] body [trailer]
//	recipient = type(1) key-ID(32) R-length(4) R E-length(4) E
//
// H is the offset of the body. Flag 1 is HMAC, 2 AEAD, neither no integrity, 16 wraps
// recipients with the body's cipher (Dovecot 2.4 reads that, nothing writes it). Type 1
// is RSA, 2 a curve. The key data, random for each stream, are
//
//	kd   = key || IV || tail            tail: 16 octets of AAD or HMAC key, or none
//	R    = ephemeral public point       uncompressed when written
//	S    = ECDH(ephemeral, recipient)   X in fixed width
//	T    = PBKDF2-HMAC-D(S, salt R, rounds, 48)
//	E    = AES-256-CBC(T[:32], T[32:], kd), or RSA-OAEP with SHA-1 of kd
//	hash = D(kd), then 2048 times D(hash || be32(i)), i from 1
//	body = one run of the cipher; trailer = tag, or HMAC-D(tail, body), or none
//
// Version 1 has one recipient on a curve and no integrity. The lengths are of two octets:
//
//	version 1 = "CRYPTED" 03 07 01 L(2) 33|65.. R 32 old-ID 32 SHA-256(seed) 32 E [padding] body
//	E         = AES-256-CTR(SHA-256(S), counter 0, seed)
//	body      = AES-256-CTR(seed, counter 0, plaintext)
//
// Dovecot reads neither several recipients nor a body of fewer than 17 octets nor a
// header above 8,175; this package reads all that and writes what Dovecot reads: one
// recipient, and nothing at all for an empty message. [Open] releases nothing before
// the tag or MAC of the whole stream has been checked, in bounded memory. The header
// is not authenticated, and nothing binds a stream to its mailbox or its sender.
//
// # Key texts
//
// Fields are hex where nothing else is said. Splitting is at every colon and TAB; a
// trailing newline belongs to the last field and spoils it, as in Dovecot.
//
//	public     2:SubjectPublicKeyInfo:ID
//	private    2:OID:0:value:ID
//	password   2:OID:2:cipher:salt:hash:rounds:ciphertext:ID
//	other key  2:OID:1:cipher:salt:hash:rounds:ciphertext:R:protector-ID:ID
//
// The value is the scalar as an MPI (length in 4 octets, magnitude), raw for X25519 and
// X448, PKCS#1 for RSA. Its ciphertext is under key || IV = PBKDF2-HMAC-hash(secret,
// salt, rounds), where the secret is the password or the ECDH secret. There is no tag:
// only the ID tells that a password was right. The ID is the SHA-256 of the
// SubjectPublicKeyInfo with a named curve and the compressed point.
//
// Version 1, written only where a key has that form already, has TABs between its fields,
// OpenSSL's number for the curve, and as ID the SHA-256 of the compressed point in
// upper-case hex:
//
//	public     1 nid point old-ID
//	private    1 nid 0 scalar old-ID
//	password   1 nid 2 ciphertext salt old-ID         AES-256-CTR, counter 0, under
//	other key  1 nid 1 ciphertext R protector-ID old-ID
//
// under PBKDF2-HMAC-SHA-256(unhex(password), salt, 16 rounds), or SHA-256(S).
//
// PEM (PUBLIC KEY, PRIVATE KEY, ENCRYPTED PRIVATE KEY with PBES2) and JSON web keys are
// read too.
//
// # Curves and timing
//
// prime256v1, secp224r1, secp384r1, secp521r1 and X25519 are the standard library's and
// X448 is circl's, all in constant time. secp256k1 and the brainpool curves are not:
// someone who can time many operations on this machine might learn a key. They are
// here for stores that use them. RSA of 1,024 to 8,192 bits is read and written to.
// Everything else, such as binary curves, is an [*UnsupportedError].
package dcrypt
