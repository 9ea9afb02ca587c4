// Package sealedcache keeps what reading a message has told, so that it need not be read
// again: envelopes, structures, header fields, and the key data of its encrypted stream. All
// of it is sealed to the key that opens the message: who can read the message can read the
// cache, and nobody else. The only copy of nothing is in it; a cache that is lost or damaged
// costs time.
//
// There is one file a mailbox, mailcryptd.GUID.sealed beside the index. Integers are big-endian.
//
//	file   = "MCSC" version(u8 = 1) 3*%x00 GUID(16) *record
//	record = kind(u8) length(u24) body           ; length is that of body
//	slot   = %x01 number(u64) how(u8) key-ID(32) salt(16) enc
//	entry  = %x02 slot(u64) count(u64) field(u8) name(16) sealed
//
// A slot is an AES-256-GCM key that one process has sealed entries with, counting them from 0. Its
// number is random, so that who delivers need not know the others.
// It comes from the key with the key ID, a folder's, in one of two ways:
//
//	how 1   secret = Derive(key, "mailcrypt sealed cache 1"); enc is empty
//	how 2   secret = Decapsulate(key, enc)
//	both    slot key = HKDF-SHA256(secret, salt, "mailcrypt sealed cache 1 slot" how key-ID GUID enc)
//
// Derive and Decapsulate are those of package dcrypt. The second way takes the public key
// alone. It serves deliveries, for key data and nothing else: it proves nothing about who
// sealed an entry, but key data that are not the message's fail the message's tag.
//
//	sealed  = AES-256-GCM(slot key, nonce = %x00000000 count, additional data = GUID field name)
//
// The name of an entry is UIDVALIDITY(u32) UID(u32) and eight zeros. The name of key data is the first half of the
// SHA-256 of the stream's header, which no two messages share; so a copy of a message, or the
// same one before its UID is known, has the same entry. The last entry of a name counts. A
// record that cannot be ends the file.
package sealedcache
