package keys

import (
	"sync"

	"mailcrypt/dcrypt"
)

// maxPublics bounds the keys that PublicKeys holds.
const maxPublics = 256

// PublicKeys are folder keys that were read before, by their texts. A key that is used again
// is not taken apart again, and has what it has computed for being used often. It is only ever
// asked what a text says, never which key is active. The zero value is empty; its methods may be
// called concurrently.
type PublicKeys struct {
	mu   sync.Mutex
	keys map[string]*dcrypt.PublicKey
}

// parse is dcrypt.ParsePublicKey. p may be nil.
func (p *PublicKeys) parse(text []byte) (*dcrypt.PublicKey, error) {
	if p == nil {
		return dcrypt.ParsePublicKey(text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.keys[string(text)]; k != nil {
		return k, nil
	}
	k, err := dcrypt.ParsePublicKey(text)
	if err != nil {
		return nil, err
	}
	if p.keys == nil {
		p.keys = map[string]*dcrypt.PublicKey{}
	}
	for one := range p.keys { // any
		if len(p.keys) < maxPublics {
			break
		}
		delete(p.keys, one)
	}
	p.keys[string(text)] = k
	return k, nil
}

// look is parse for who needs the key once: one that is not held is not held then either, so
// that whoever looks all folders over leaves those that are used.
func (p *PublicKeys) look(text []byte) (*dcrypt.PublicKey, error) {
	if p != nil {
		p.mu.Lock()
		k := p.keys[string(text)]
		p.mu.Unlock()
		if k != nil {
			return k, nil
		}
	}
	return dcrypt.ParsePublicKey(text)
}
