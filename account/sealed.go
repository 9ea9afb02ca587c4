package account

import (
	"log/slog"
	"sync"
	"time"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
	"mailcrypt/storage"
)

const (
	// maxCaches is how many caches that nobody uses an account remembers.
	maxCaches = 16
	// restAfter is how long the file of one stays open that nobody uses: of many deliveries in
	// a row none opens it, and what they tell is written at once.
	restAfter = 2 * time.Second
)

// caches are the sealed caches of an account's mailboxes, in the directory of its index.
type caches struct {
	log *slog.Logger
	dir string // "" where nothing is kept

	mu   sync.Mutex
	open map[mailbox.GUID]*openCache
}

type openCache struct {
	*sealedcache.Cache
	users int
	rest  *time.Timer // nil before the first time that nobody uses it
}

// get returns a mailbox's cache; nil where none is kept. The caller gives it back by put.
func (cs *caches) get(guid mailbox.GUID, size int64) *sealedcache.Cache {
	if cs.dir == "" || size == 0 {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.open[guid]
	if c == nil {
		if cs.open == nil {
			cs.open = map[mailbox.GUID]*openCache{}
		}
		cs.trim()
		c = &openCache{Cache: sealedcache.Open(cs.dir, guid, sealedcache.Options{MaxBytes: size, Logger: cs.log})}
		cs.open[guid] = c
	}
	c.users++
	return c.Cache
}

// trim closes what nobody uses where that is too much.
func (cs *caches) trim() {
	for guid, c := range cs.open {
		if len(cs.open) < maxCaches {
			return
		}
		if c.users == 0 {
			cs.drop(guid, c)
		}
	}
}

func (cs *caches) drop(guid mailbox.GUID, c *openCache) {
	delete(cs.open, guid)
	if c.rest != nil {
		c.rest.Stop()
	}
	if err := c.Close(); err != nil {
		cs.log.Warn("closing a sealed cache", "err", err)
	}
}

// put gives a cache back. What was learned is written soon.
func (cs *caches) put(guid mailbox.GUID) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.open[guid]; c != nil {
		if c.users--; c.users > 0 {
			return
		}
		if c.rest == nil {
			c.rest = time.AfterFunc(restAfter, func() { cs.idle(c) })
		} else {
			c.rest.Reset(restAfter)
		}
	}
}

// idle closes the file of a cache that nobody has used for a while.
func (cs *caches) idle(c *openCache) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.users == 0 {
		c.Rest()
	}
}

// remove forgets a mailbox that was deleted.
func (cs *caches) remove(guid mailbox.GUID) {
	if cs.dir == "" {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.open[guid]; c != nil {
		cs.drop(guid, c)
	}
	sealedcache.Remove(cs.dir, guid)
}

func (cs *caches) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for guid, c := range cs.open {
		cs.drop(guid, c)
	}
}

// A sealedReader finds private keys in a login's ring, and key data in the cache first.
type sealedReader struct {
	*keys.Ring
	*sealedcache.Opener
}

var _ dcrypt.KeyDataKeeper = sealedReader{}

// remember makes an appender keep the key data of what it writes to a public key.
func remember(c *sealedcache.Cache, to *dcrypt.PublicKey, o *storage.Options) {
	if c != nil && to != nil {
		o.KeyData = func(header, kd []byte) { c.PutKeyData(header, to, kd) }
	}
}
