package sealedcache

import (
	"crypto/cipher"
	"crypto/sha256"
	"sync"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// window is how much is read at a time where entries are asked for in the order in which they
// lie.
const window = 64 << 10

// An Opener is a login's use of a cache: it opens what the login's keys open. Its methods may be
// called concurrently.
type Opener struct {
	cache    *Cache
	keys     dcrypt.KeyFinder
	validity uint32

	mu    sync.Mutex
	aeads map[*slot]cipher.AEAD // nil: no key of ours

	plain   []byte // the last value
	scratch []byte // of unseal

	buf  []byte
	at   int64 // of buf in the file
	have int
	gen  int // of the file
	next int64
}

// Opener returns a login's use of the cache of a mailbox that has this UIDVALIDITY. keys must
// stay usable until Close.
func (c *Cache) Opener(keys dcrypt.KeyFinder, validity uint32) *Opener {
	return &Opener{cache: c, keys: keys, validity: validity, aeads: map[*slot]cipher.AEAD{}}
}

// Close forgets the keys and what was opened.
func (o *Opener) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.plain)
	o.aeads, o.plain, o.buf, o.have = nil, nil, nil, 0
}

// Get appends what is kept of a field of a message to dst; ok is false where nothing is.
func (o *Opener) Get(dst []byte, f Field, uid mailbox.UID) (_ []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	value, by := o.get(uidName(f, o.validity, uid))
	return append(dst, value...), by != nil
}

// Put keeps a field of a message that the key opens.
func (o *Opener) Put(f Field, uid mailbox.UID, key dcrypt.KeyID, value []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(uidName(f, o.validity, uid), key, value)
}

// KeyData returns the key data of the stream with a header; nil where they are not kept. They are
// the caller's, who clears them and believes them no more than the message's tag proves.
func (o *Opener) KeyData(header []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := keyDataName(header)
	value, by := o.get(n)
	if by == nil {
		return nil
	}
	kd := append([]byte(nil), value...)
	clear(value)
	if by.how == encapsulated { // what costs an agreement once need not cost it again
		o.put(n, by.key, kd)
	}
	return kd
}

// PutKeyData keeps the key data of the stream with a header, which the key opens.
func (o *Opener) PutKeyData(header []byte, key dcrypt.KeyID, kd []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(keyDataName(header), key, kd)
}

// PutKeyData keeps the key data of a stream that was just written to a public key.
func (c *Cache) PutKeyData(header []byte, to *dcrypt.PublicKey, kd []byte) {
	c.store(keyDataName(header), nil, to, kd)
}

func keyDataName(header []byte) (n name) {
	sum := sha256.Sum256(header)
	n[0] = byte(keyData)
	copy(n[1:], sum[:])
	return n
}

func (o *Opener) put(n name, key dcrypt.KeyID, value []byte) {
	if o.aeads == nil {
		return
	}
	if private, err := o.keys.PrivateKey(key); err == nil && private != nil {
		o.cache.store(n, private, nil, value)
	}
}

// get returns a value, which lies in o.plain, and the slot that it was sealed under.
func (o *Opener) get(n name) ([]byte, *slot) {
	if o.aeads == nil {
		return nil, nil
	}
	body, s := o.body(n)
	if s == nil || s.how == encapsulated && Field(n[0]) != keyData {
		return nil, nil
	}
	aead := o.aead(s)
	if aead == nil {
		return nil, nil
	}
	clear(o.plain)
	value, err := unseal(o.plain[:0], aead, o.cache.guid, body, &o.scratch)
	if err != nil {
		o.cache.forget(n)
		return nil, nil
	}
	o.plain = value
	return value, s
}

// body returns an entry's body within o.buf.
func (o *Opener) body(n name) ([]byte, *slot) {
	p, s, gen, ok := o.cache.find(n)
	if !ok {
		return nil, nil
	}
	from := p.at - o.at
	if gen == o.gen && from >= 0 && from+int64(p.size) <= int64(o.have) {
		o.next = p.at + int64(p.size)
		if body := o.buf[from : from+int64(p.size)]; name(body[16:entryHead]) == n {
			return body, s
		}
		return nil, nil
	}
	// Entries that follow each other closely are read together.
	ahead := gen == o.gen && p.at >= o.next && p.at-o.next < 4<<10
	size := int(p.size)
	if ahead {
		size = max(size, window)
	}
	if cap(o.buf) < size {
		o.buf = make([]byte, size)
	}
	o.buf = o.buf[:size]
	o.at, o.gen, o.next = p.at, gen, p.at+int64(p.size)
	if o.have = o.cache.read(n, p, gen, o.buf); o.have < int(p.size) {
		o.have = 0
		return nil, nil
	}
	return o.buf[:p.size], s
}

func (o *Opener) aead(s *slot) cipher.AEAD {
	aead, known := o.aeads[s]
	if known {
		return aead
	}
	if private, err := o.keys.PrivateKey(s.key); err == nil && private != nil {
		aead, _ = s.open(o.cache.guid, private)
	}
	o.aeads[s] = aead
	return aead
}
