// Package throttle slows down those who guess passwords. A login waits before its password
// is looked at, so that neither the answer nor its time says anything sooner to those who
// try many:
//
//	failures   0  1  2  3  4 and more
//	waits      0  2  4  8  15 seconds
//
// Failures are counted for each address, an IPv6 network of /48 being one, and for each
// user, wherever they come from; the greater one counts. Where some have failed, a login under
// way counts as a failure until it has ended, so that trying many at once gains little; where
// none have, a client may open its five connections. The same wrong
// password again, which is what a forgotten device sends, is no further failure. Every
// minute without a failure takes one back. (Dovecot: auth-penalty.c and penalty.c, which
// know addresses alone and forget sooner.)
//
// Nobody can lock a user out. The wait is bounded, and an address from which a user has
// logged in within the last weeks waits for what has failed from there for that user, not
// for what strangers do.
//
// All memory is bounded: of each table the entries that were not used for longest go.
package throttle

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	first    = 2 * time.Second
	decay    = time.Minute         // one failure is taken back
	familiar = 30 * 24 * time.Hour // an address stays one that a user has logged in from
	maxLevel = 4
	passes   = 4 // wrong passwords that are recognised
	maxUser  = 256
)

// Options are those of a Throttle. The zero value means the defaults.
type Options struct {
	// Max is the longest wait; 15 s. Negative is no wait at all.
	Max time.Duration
	// Entries is how many addresses, users and familiar addresses of users are remembered,
	// each; 16,384, which take some 8 MiB in all.
	Entries int
	// Exempt are addresses that are not slowed as such, for many users stand behind each: a
	// webmail server, a proxy. Users are slowed there as anywhere.
	Exempt []netip.Prefix
	Now    func() time.Time // nil is time.Now
}

// A Throttle remembers failures. Its methods may be called concurrently.
type Throttle struct {
	o   Options
	key [32]byte // of the HMACs by which passwords are recognised

	mu        sync.Mutex
	addresses table
	users     table
	familiars table
}

// New returns a Throttle that remembers nothing yet.
func New(o Options) *Throttle {
	if o.Max == 0 {
		o.Max = 15 * time.Second
	}
	if o.Entries <= 0 {
		o.Entries = 1 << 14
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Throttle{o: o}
	rand.Read(t.key[:])
	for _, tab := range []*table{&t.addresses, &t.users, &t.familiars} {
		*tab = table{max: o.Entries, entries: map[string]*entry{}}
	}
	return t
}

// An Attempt is one login under way. End it.
type Attempt struct {
	// Wait is how long to wait before the password is looked at.
	Wait time.Duration

	t       *Throttle
	entries []*entry
	pair    string
	ended   bool
}

// A Result is what became of an Attempt.
type Result int

// The password was right, or wrong, or that was not found out.
const (
	Unknown Result = iota
	Good
	Bad
)

// Begin begins a login. The address is invalid where there is none, on a unix socket say.
func (t *Throttle) Begin(addr netip.Addr, user string) *Attempt {
	// As username_format usually makes it. What is longer is no user, and shares an entry.
	user = strings.ToLower(user[:min(len(user), maxUser)])
	net := network(addr)
	a := &Attempt{t: t, pair: net + "\x00" + user}
	if t.o.Max < 0 {
		return a
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	if e := t.familiars.get(a.pair); e != nil && now.Sub(e.good) < familiar {
		a.entries = []*entry{e}
	} else {
		if addr.IsValid() && !t.exempt(addr) {
			a.entries = append(a.entries, t.addresses.make(net))
		}
		a.entries = append(a.entries, t.users.make(user))
	}
	level := 0
	for _, e := range a.entries {
		if n := e.level(now); n > 0 {
			level = max(level, n+e.pending)
		}
		e.pending++
	}
	a.Wait = t.wait(level)
	return a
}

// End says how the attempt ended. A second End does nothing.
func (a *Attempt) End(r Result, password []byte) {
	t := a.t
	if t.o.Max < 0 || a.ended {
		return
	}
	a.ended = true
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write([]byte(a.pair + "\x00"))
	mac.Write(password)
	sum := [8]byte(mac.Sum(nil))
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	for _, e := range a.entries {
		e.pending--
		if r == Bad {
			e.fail(now, sum)
		}
	}
	if r == Good {
		e := t.familiars.make(a.pair)
		e.good, e.failures = now, 0
	}
}

// wait is the time for a number of failures.
func (t *Throttle) wait(level int) time.Duration {
	if level == 0 {
		return 0
	}
	return min(first<<(min(level, maxLevel)-1), t.o.Max)
}

func (t *Throttle) exempt(addr netip.Addr) bool {
	for _, p := range t.o.Exempt {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// network is what counts as one address: whoever has an IPv6 address has many.
func network(addr netip.Addr) string {
	addr = addr.Unmap()
	if addr.Is6() {
		if p, err := addr.Prefix(48); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// An entry is the failures of one address, user, or user at an address.
type entry struct {
	name     string
	failures int
	since    time.Time // the last failure
	good     time.Time // the last success, of a familiar address
	pending  int       // attempts under way
	seen     [passes][8]byte
	place    *list.Element
}

// level is how many failures are left.
func (e *entry) level(now time.Time) int {
	return max(0, e.failures-max(0, int(now.Sub(e.since)/decay)))
}

func (e *entry) fail(now time.Time, sum [8]byte) {
	for _, s := range e.seen {
		if s == sum {
			return
		}
	}
	copy(e.seen[1:], e.seen[:])
	e.seen[0] = sum
	e.failures = min(e.level(now)+1, maxLevel)
	e.since = now
}

// A table holds entries in the order of their last use.
type table struct {
	max     int
	entries map[string]*entry
	order   list.List // the newest first
}

func (t *table) get(name string) *entry {
	e := t.entries[name]
	if e != nil {
		t.order.MoveToFront(e.place)
	}
	return e
}

func (t *table) make(name string) *entry {
	if e := t.get(name); e != nil {
		return e
	}
	if len(t.entries) >= t.max {
		last := t.order.Back()
		delete(t.entries, last.Value.(*entry).name)
		t.order.Remove(last)
	}
	e := &entry{name: strings.Clone(name)}
	e.place = t.order.PushFront(e)
	t.entries[e.name] = e
	return e
}
