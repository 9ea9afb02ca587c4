package imapd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkRefused waits until something was refused, for the reasons given, in any order.
func (m *fakeMetrics) checkRefused(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	got := slices.Sorted(slices.Values(m.refused))
	if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("refused %q, want %q", got, want)
	}
}

// settle waits until n connections before login wait for a command: only those make room.
func (f *fixture) settle(n int) {
	f.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		waiting := 0
		f.srv.mu.Lock()
		for e := f.srv.logins.Front(); e != nil; e = e.Next() {
			c := e.Value.(*session).conn
			c.mu.Lock()
			if c.waiting && !c.loggedIn {
				waiting++
			}
			c.mu.Unlock()
		}
		f.srv.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%d wait, want %d", waiting, n)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxConnections = 2 })
	first := f.login()
	oldest := f.dial()
	oldest.line()
	f.settle(1)
	// One that has not logged in makes room,
	next := f.dial()
	next.script(`S* * OK`)
	oldest.script(`S: * BYE Connection queue full.`)
	if !oldest.eof() {
		t.Error("still open")
	}
	next.script("C: a LOGIN alice secret\nS* a OK")
	// one that has logged in does not.
	f.dial().script(`S: * BYE [UNAVAILABLE] Too many connections.`)
	first.script("C: a LOGOUT\nS* a OK")
	f.metrics.check(t, "open", &f.metrics.open, 1)
	f.dial().script(`S* * OK`)
	f.metrics.checkRefused(t, "login_queue", "connections")
}

func TestMaxLogins(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxLogins = 2 })
	oldest, second := f.dial(), f.dial()
	oldest.line()
	second.line()
	f.settle(2)
	f.login()
	oldest.script(`S: * BYE Connection queue full.`)
	second.script("C: a NOOP\nS* a OK")
	// UNAUTHENTICATE puts a connection among them again.
	again := f.login()
	again.script("C: a UNAUTHENTICATE\nS* a OK")
	f.settle(2)
	f.dial().line()
	second.script(`S: * BYE Connection queue full.`)
	f.settle(2)
	f.dial().line()
	again.script(`S: * BYE Connection queue full.`)
}

// A guesser whose answer is held back does not keep others from logging in.
func TestEvictGuesser(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.MaxLogins = 1
		o.Timeouts.AuthDelay = time.Hour
	})
	guesser := f.dial()
	guesser.script("S* * OK\nC: a LOGIN alice wrong")
	held := func() bool {
		f.srv.mu.Lock()
		defer f.srv.mu.Unlock()
		e := f.srv.logins.Front()
		if e == nil {
			return false
		}
		c := e.Value.(*session).conn
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.paused != nil
	}
	for end := time.Now().Add(5 * time.Second); !held(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the answer is not held back")
		}
	}
	f.login()
	guesser.script("S* a NO\nS: * BYE Connection queue full.")
}

func TestMaxPerAddress(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxPerAddress = 1 })
	f.listen(false, true)
	one := f.dial()
	one.line()
	f.dial().script(`S: * BYE [UNAVAILABLE] Too many connections from your address.`)
	f.metrics.checkRefused(t, "address")
	one.script("C: a LOGOUT\nS* a OK")
	f.metrics.check(t, "open", &f.metrics.open, 0)
	f.dial().script(`S* * OK`)

	f = newFixture(t, func(o *Options) {
		o.MaxPerAddress, o.TrustedNetworks = 1, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/24")}
	})
	f.listen(false, true)
	f.dial().script(`S* * OK`)
	f.dial().script(`S* * OK`)
}

func TestMaxPerUser(t *testing.T) {
	const exceeded = "S: a NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)"
	f := newFixture(t, func(o *Options) { o.MaxPerUserAddress = 2 })
	first := f.login()
	f.login()
	third := f.dial()
	third.line()
	third.script("C: a LOGIN alice secret\n" + exceeded)
	first.script("C: a UNAUTHENTICATE\nS* a OK")
	third.script("C: b LOGIN alice secret\nS* b OK")
	first.script("C: a LOGIN alice secret\n" + exceeded)
	f.listen(false, true) // elsewhere
	f.login()
	f.metrics.checkRefused(t, "user_address", "user_address")

	f = newFixture(t, func(o *Options) { o.MaxPerUser = 1 })
	f.login()
	f.listen(false, true)
	c := f.dial()
	c.line()
	c.script("C: a LOGIN alice secret\nS: a NO [UNAVAILABLE] Maximum number of connections of the user exceeded.")
	f.metrics.checkRefused(t, "user")
}

func TestCountsAreKept(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxConnections, o.MaxPerUser = 3, 100 })
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			nc, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			nc.Write([]byte("a LOGIN alice secret\r\nb UNAUTHENTICATE\r\nc LOGIN alice secret\r\n"))
			nc.Read(make([]byte, 100))
		})
	}
	wg.Wait()
	f.metrics.check(t, "open", &f.metrics.open, 0)
	f.srv.mu.Lock()
	defer f.srv.mu.Unlock()
	l := &f.srv.limits
	if l.open != 0 || l.logins.Len() != 0 || len(l.perAddr)+len(l.perUser)+len(l.perPlace) != 0 {
		t.Errorf("left over: %d open, %d before login, %v %v %v", l.open, l.logins.Len(), l.perAddr, l.perUser, l.perPlace)
	}
}

func TestNetworkOfAddress(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := network(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
}

// TestLoginDelay: failures make logins wait, before their password is looked at.
func TestLoginDelay(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	f := newFixture(t, func(o *Options) {
		o.MaxDelay = time.Millisecond
		o.Logger = slog.New(slog.NewTextHandler(&lockedWriter{mu: &mu, w: &log}, nil))
	})
	f.listen(false, true)
	c := f.dial()
	c.script(`
		S* * OK
		C: a LOGIN alice one
		S: a NO [AUTHENTICATIONFAILED] Authentication failed.
		C: b LOGIN "x remote=1.2.3.4 \"" two
		S: b NO [AUTHENTICATIONFAILED] Authentication failed.
		C: c LOGIN alice secret
		S* c OK
	`)
	f.metrics.check(t, "delayed", &f.metrics.delayed, 2)
	f.metrics.check(t, "failed", &f.metrics.failed, 2)
	mu.Lock()
	defer mu.Unlock()
	var lines []string
	for l := range strings.Lines(log.String()) {
		if _, after, ok := strings.Cut(l, `msg="login failed" `); ok {
			lines = append(lines, strings.TrimSpace(after))
		}
	}
	want := []string{`remote=192.0.2.7 user=alice failures=1`, `remote=192.0.2.7 user="x remote=1.2.3.4 \"" failures=2`}
	if !slices.Equal(lines, want) {
		t.Errorf("logged %q, want %q", lines, want)
	}
}

// TestGuessesByOtherSpellings: names of one user are one user to who counts guesses.
func TestGuessesByOtherSpellings(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxDelay = time.Millisecond })
	f.srv.userKey = func(name string) string {
		local, _, _ := strings.Cut(name, "@")
		return local
	}
	f.dial().script("S* * OK\nC: a LOGIN bob@one wrong\nS* a NO")
	f.metrics.check(t, "delayed", &f.metrics.delayed, 0)
	f.dial().script("S* * OK\nC: a LOGIN bob@two wrong\nS* a NO")
	f.metrics.check(t, "delayed", &f.metrics.delayed, 1)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestShutdownEndsDelays: nobody waits for a login that waits.
func TestShutdownEndsDelays(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxDelay, o.Timeouts.AuthDelay = time.Hour, time.Hour })
	c := f.dial()
	c.script(`S* * OK`)
	c.send("a LOGIN alice wrong")
	f.metrics.check(t, "failed", &f.metrics.failed, 1)
	if err := f.srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	c.script("S* a NO\nS: * BYE [UNAVAILABLE] Server is shutting down.")
}
