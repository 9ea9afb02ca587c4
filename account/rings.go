package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
)

// rings are the open rings of an account's logins.
type rings struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*sharedRing
	all  map[*sharedRing]struct{} // those that are not shared any more, too
}

// A sharedRing serves every login that presents the same secret while one of them lives,
// and for the configured time after: mail clients log in five times over, and opening a
// strong seal costs 100 ms.
type sharedRing struct {
	ring  *keys.Ring
	refs  int
	timer *time.Timer
	set   *rings
	id    [sha256.Size]byte
	keep  time.Duration
}

// get returns the ring of a login's secret. unlock makes it where none is open; while it
// runs, other logins of the user wait, and find it.
//
// A ring is not shared once the active user key is one that it does not trust: it opened
// what there was at its own login, and this login can tell what to think of the new one.
func (rs *rings) get(ctx context.Context, id [sha256.Size]byte, keep time.Duration, unlock func() (*keys.Ring, error)) (*sharedRing, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if s := rs.open[id]; s != nil {
		if s.timer != nil {
			s.timer.Stop()
			s.timer = nil
		}
		if s.ring.Fresh(ctx) {
			s.refs++
			s.keep = keep
			return s, nil
		}
		if delete(rs.open, id); s.refs == 0 {
			s.drop()
		}
	}
	ring, err := unlock()
	if err != nil {
		return nil, err
	}
	s := &sharedRing{ring: ring, refs: 1, set: rs, id: id, keep: keep}
	if rs.all == nil {
		rs.all = map[*sharedRing]struct{}{}
	}
	rs.all[s] = struct{}{}
	if ring.State().Locked() {
		return s, nil // a repaired user must not find the locked ring again
	}
	if rs.open == nil {
		rs.open = map[[sha256.Size]byte]*sharedRing{}
	}
	rs.open[id] = s
	return s, nil
}

// own returns a ring that no other login gets.
func (rs *rings) own(look func() (*keys.Ring, error)) (*sharedRing, error) {
	ring, err := look()
	if err != nil {
		return nil, err
	}
	return &sharedRing{ring: ring, refs: 1, set: rs}, nil
}

// release gives one use of the ring back.
func (s *sharedRing) release() {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	if s.keep > 0 && s.set.open[s.id] == s {
		s.timer = time.AfterFunc(s.keep, func() {
			s.set.mu.Lock()
			defer s.set.mu.Unlock()
			if s.refs == 0 {
				s.drop()
			}
		})
		return
	}
	s.drop()
}

func (s *sharedRing) drop() {
	if s.set.open[s.id] == s {
		delete(s.set.open, s.id)
	}
	delete(s.set.all, s)
	s.ring.Close()
}

// adopt hands a new user key to the open rings. Rings of master users are not among them.
func (rs *rings) adopt(key *dcrypt.PrivateKey, was string, stored bool) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var errs []error
	for s := range rs.all {
		errs = append(errs, s.ring.Adopt(key, was, stored))
	}
	return errors.Join(errs...)
}

// close ends rings that are kept beyond their last login.
func (rs *rings) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, s := range rs.open {
		if s.timer != nil {
			s.timer.Stop()
		}
		s.drop()
	}
}

// ringID is what two logins share that may share a ring: the secret and the configured
// keys.
func (r *Registry) ringID(c keys.Config) [sha256.Size]byte {
	mac := hmac.New(sha256.New, r.process[:])
	if c.Password.Known() {
		mac.Write([]byte{1})
		sum := sha256.Sum256(c.Password.Bytes())
		mac.Write(sum[:])
	}
	for _, list := range [][]*dcrypt.PrivateKey{c.SealKeys, c.GlobalPrivate} {
		mac.Write([]byte{2})
		for _, k := range list {
			id := k.ID()
			mac.Write(id[:])
		}
	}
	return [sha256.Size]byte(mac.Sum(nil))
}
