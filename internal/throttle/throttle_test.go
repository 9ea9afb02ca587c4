package throttle

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a Throttle and the time that it believes.
type clock struct {
	*Throttle
	now time.Time
	n   int
}

func newClock(o Options) *clock {
	c := &clock{now: time.Unix(1e9, 0)}
	o.Now = func() time.Time { return c.now }
	c.Throttle = New(o)
	return c
}

// try makes an attempt with a password that was not tried before, and returns its wait in
// seconds. Time stands still.
func (c *clock) try(addr, user string, r Result) float64 {
	c.n++
	return c.tryWith(addr, user, fmt.Sprint(c.n), r)
}

func (c *clock) tryWith(addr, user, password string, r Result) float64 {
	var a netip.Addr
	if addr != "" {
		a = netip.MustParseAddr(addr)
	}
	at := c.Begin(a, user)
	at.End(r, []byte(password))
	return at.Wait.Seconds()
}

func (c *clock) expect(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v s, want %v", what, got, want)
	}
}

func TestGrows(t *testing.T) {
	c := newClock(Options{})
	for i, want := range []float64{0, 2, 4, 8, 15, 15, 15} {
		c.expect(t, fmt.Sprintf("failure %d of many users", i), c.try("192.0.2.1", fmt.Sprint("user", i), Bad), want)
	}
	c.expect(t, "another address", c.try("192.0.2.2", "x", Good), 0)
	for i, want := range []float64{0, 2, 4, 8, 15, 15} {
		c.expect(t, fmt.Sprintf("failure %d from many addresses", i), c.try(fmt.Sprint("198.51.100.", i), "alice", Bad), want)
	}
	c.expect(t, "the same user in capitals", c.try("203.0.113.1", "ALICE", Bad), 15)
	c.expect(t, "another user", c.try("203.0.113.2", "bob", Good), 0)
}

func TestDecays(t *testing.T) {
	c := newClock(Options{})
	for range 10 {
		c.try("192.0.2.1", "alice", Bad)
	}
	for _, want := range []float64{15, 8, 4, 2, 0} {
		c.expect(t, "a minute later", c.try("192.0.2.1", "bob", Unknown), want)
		c.now = c.now.Add(decay)
	}
	c.now = c.now.Add(-time.Hour) // a clock that goes back
	c.expect(t, "back", c.try("192.0.2.1", "bob", Unknown), 15)
}

func TestSamePassword(t *testing.T) {
	c := newClock(Options{})
	for range 20 {
		c.tryWith("192.0.2.1", "alice", "last year's", Bad)
	}
	c.expect(t, "one wrong password, often", c.tryWith("192.0.2.1", "alice", "another", Bad), 2)
	c.expect(t, "two", c.tryWith("192.0.2.1", "alice", "last year's", Bad), 4)
	c.expect(t, "for another user it is another", c.tryWith("192.0.2.1", "bob", "last year's", Bad), 4)
	c.expect(t, "", c.try("192.0.2.1", "bob", Unknown), 8)
}

func TestSuccess(t *testing.T) {
	c := newClock(Options{})
	for range 5 {
		c.try("192.0.2.1", "alice", Bad)
	}
	c.expect(t, "the right one waits too", c.try("192.0.2.1", "mallory", Good), 15)
	c.expect(t, "an own account does not help against others", c.try("192.0.2.1", "alice", Bad), 15)
	c.expect(t, "the own one is free", c.try("192.0.2.1", "mallory", Good), 0)
}

// TestNoLockout: whatever strangers do, a user at a familiar address does not wait.
func TestNoLockout(t *testing.T) {
	c := newClock(Options{})
	c.try("192.0.2.1", "alice", Good)
	for i := range 50 {
		c.try(fmt.Sprint("198.51.100.", i), "alice", Bad)
		c.try("192.0.2.1", fmt.Sprint("user", i), Bad)
	}
	c.expect(t, "at home", c.try("192.0.2.1", "alice", Good), 0)
	c.expect(t, "elsewhere", c.try("203.0.113.1", "alice", Good), 15)
	c.expect(t, "elsewhere again", c.try("203.0.113.1", "alice", Good), 0)
	// The familiar address is no way round.
	for _, want := range []float64{0, 2, 4, 8, 15, 15} {
		c.expect(t, "guessing at home", c.try("192.0.2.1", "alice", Bad), want)
	}
	c.now = c.now.Add(familiar + time.Hour)
	for range 4 {
		c.try("198.51.100.1", "alice", Bad)
	}
	c.expect(t, "long after", c.try("192.0.2.1", "alice", Good), 15)
}

func TestAtOnce(t *testing.T) {
	c := newClock(Options{})
	addr := netip.MustParseAddr("192.0.2.1")
	var attempts []*Attempt
	for range 5 {
		a := c.Begin(addr, "alice")
		c.expect(t, "the connections of a client", a.Wait.Seconds(), 0)
		attempts = append(attempts, a)
	}
	for _, a := range attempts {
		a.End(Unknown, nil)
	}
	attempts = nil
	c.try("192.0.2.1", "alice", Bad)
	for _, want := range []float64{2, 4, 8, 15, 15} {
		a := c.Begin(addr, "alice")
		c.expect(t, "one of many at once", a.Wait.Seconds(), want)
		attempts = append(attempts, a)
	}
	for _, a := range attempts {
		a.End(Good, nil)
		a.End(Good, nil)
	}
	c.expect(t, "they were right", c.try("192.0.2.1", "bob", Bad), 2)
}

func TestNetworks(t *testing.T) {
	c := newClock(Options{Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	c.try("2001:db8:1::1", "a", Bad)
	c.expect(t, "the same /48", c.try("2001:db8:1:ffff::2", "b", Bad), 2)
	c.expect(t, "another", c.try("2001:db8:2::1", "c", Bad), 0)
	c.try("192.0.2.1", "d", Bad)
	c.expect(t, "IPv4 in IPv6", c.try("::ffff:192.0.2.1", "e", Bad), 2)
	for _, exempt := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.9", ""} {
		for i := range 5 {
			c.expect(t, "exempt", c.try(exempt, fmt.Sprint(exempt, i), Bad), 0)
		}
	}
	for _, want := range []float64{0, 2, 4, 8, 15, 15} {
		c.expect(t, "a user there", c.try("127.0.0.1", "alice", Bad), want)
	}
	off := newClock(Options{Max: -1})
	for range 10 {
		c.expect(t, "turned off", off.try("192.0.2.1", "alice", Bad), 0)
	}
	short := newClock(Options{Max: 3 * time.Second})
	for _, want := range []float64{0, 2, 3, 3} {
		c.expect(t, "another bound", short.try("192.0.2.1", "alice", Bad), want)
	}
}

func TestBounded(t *testing.T) {
	c := newClock(Options{Entries: 10})
	c.try("192.0.2.1", "alice", Bad)
	c.try("192.0.2.2", "bob", Good)
	for i := range 9 {
		c.try(fmt.Sprint("198.51.100.", i), fmt.Sprint("user", i), Bad)
		c.expect(t, "in use", c.try("192.0.2.1", "other", Unknown), 2)
	}
	for i := range 100 {
		c.try(fmt.Sprint("203.0.113.", i), fmt.Sprint("user", i), Good)
	}
	for _, tab := range []*table{&c.addresses, &c.users, &c.familiars} {
		if len(tab.entries) > 10 || tab.order.Len() != len(tab.entries) {
			t.Errorf("%d entries, %d in order", len(tab.entries), tab.order.Len())
		}
	}
	// An entry that went while an attempt was under way does no harm.
	a := c.Begin(netip.MustParseAddr("192.0.2.9"), "late")
	for i := range 100 {
		c.try(fmt.Sprint("203.0.113.", i), fmt.Sprint("user", i), Bad)
	}
	a.End(Bad, nil)
}

func TestConcurrent(t *testing.T) {
	th := New(Options{Entries: 5})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				a := th.Begin(netip.AddrFrom4([4]byte{192, 0, 2, byte(i * j)}), fmt.Sprint(j%7))
				a.End(Result(j%3), []byte("x"))
			}
		})
	}
	wg.Wait()
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, e := range th.users.entries {
		if e.pending != 0 {
			t.Errorf("user %s: %d pending", e.name, e.pending)
		}
	}
}

// What is remembered is bounded, whatever a client says.
func TestLongNames(t *testing.T) {
	c := newClock(Options{})
	for i := range 3 {
		c.try("", strings.Repeat("x", 60_000+i), Good)
		c.try("", strings.Repeat("x", 60_000+i), Bad)
	}
	for _, tab := range []*table{&c.users, &c.familiars} {
		if len(tab.entries) > 1 {
			t.Errorf("%d entries", len(tab.entries))
		}
		for name := range tab.entries {
			if len(name) > 1000 {
				t.Errorf("a name of %d bytes is kept", len(name))
			}
		}
	}
}
