package imapd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"mailcrypt/imapd/imapwire"
)

// A conn is a connection that sets a deadline before each read and write. What the
// reads wait for decides how long.
type conn struct {
	t *Timeouts

	mu       sync.Mutex
	nc       net.Conn
	raw      net.Conn      // below TLS
	waiting  bool          // for the next command, where a shutdown may interrupt
	since    time.Time     // waiting began
	woken    bool          // wake was called
	alarm    time.Time     // when to wake by ourselves, unless zero
	closing  bool          // interrupt was called
	kicked   bool          // kick was called
	evicted  bool          // evict was called
	paused   chan struct{} // while an answer is held back; evict closes it
	loggedIn bool
	begun    time.Time // of the connection
	until    time.Time // before login: end of patience with the current command
}

// errWoken ends a read that waits for a command, so that the session looks for what it has
// to tell. The read can be repeated: TLS keeps what it has of a record.
var errWoken = fmt.Errorf("imapd: woken: %w", imapwire.ErrInterrupted)

// newConn begins the clock of a connection.
func newConn(nc net.Conn, t *Timeouts) *conn {
	return &conn{t: t, nc: nc, raw: nc, begun: time.Now()}
}

// wait says whether the next reads wait for a command to begin.
func (c *conn) wait(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting, c.since, c.alarm = waiting, time.Now(), time.Time{}
	if waiting && !c.loggedIn {
		c.until = time.Now().Add(c.t.Login)
		if end := c.begun.Add(c.t.PreLogin); end.Before(c.until) {
			c.until = end
		}
	}
}

// wakeAfter wakes once when d has passed.
func (c *conn) wakeAfter(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarm = time.Now().Add(d)
}

// wake makes a read that waits for a command fail with errWoken, now or when it comes. It may
// be called from any goroutine and does not block.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = true
	if c.waiting {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// setLoggedIn gives the patience for a client that is known.
func (c *conn) setLoggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loggedIn = true
}

// setLoggedOut takes it back; the time for logging in begins anew.
func (c *conn) setLoggedOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loggedIn, c.begun = false, time.Now()
}

// replace puts a TLS connection above the old one.
func (c *conn) replace(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc = nc
}

// Read reads with the deadline of the moment. A client that has not logged in cannot
// earn time by sending octets slowly.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	nc, deadline := c.nc, c.deadline(time.Now())
	nc.SetReadDeadline(deadline)
	c.mu.Unlock()
	n, err := nc.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.waiting && !c.closing && !c.evicted {
		now := time.Now()
		alarmed := !c.alarm.IsZero() && !now.Before(c.alarm)
		if c.woken || alarmed {
			c.woken = false
			if alarmed {
				c.alarm = time.Time{}
			}
			return 0, errWoken
		}
	}
	return n, err
}

// begin says that a command has begun: let it be finished. Read cannot tell. What has begun may
// have been read ahead with what came before, and the octets of a compressed stream may be
// the end of a flush, which is no command.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
}

// deadline is that of the next read. c.mu is held.
func (c *conn) deadline(now time.Time) time.Time {
	switch {
	case c.evicted || c.waiting && (c.closing || c.woken):
		return now
	case !c.loggedIn:
		return c.until
	case !c.waiting:
		return now.Add(c.t.Progress)
	}
	end := c.since.Add(c.t.Idle)
	if !c.alarm.IsZero() && c.alarm.Before(end) {
		return c.alarm
	}
	return end
}

// Write writes all of p; the deadline is for each piece.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	done := 0
	for done < len(p) {
		nc.SetWriteDeadline(time.Now().Add(c.t.Write))
		n, err := nc.Write(p[done:min(len(p), done+flushPiece)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// flushPiece is how much a client must take within Timeouts.Write. An Encoder's buffer fits.
const flushPiece = 72 << 10

// interrupt makes a read that waits for a command fail, now or when it comes.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.waiting {
		c.nc.SetReadDeadline(time.Now())
	}
}

// kick is interrupt for the administrator.
func (c *conn) kick() {
	c.mu.Lock()
	c.kicked = true
	c.mu.Unlock()
	c.interrupt()
}

// wasKicked reports whether kick has ended the connection.
func (c *conn) wasKicked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kicked
}

// pause says that an answer is held back for a while. The channel is closed where the
// connection has to go meanwhile.
func (c *conn) pause() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = make(chan struct{})
	return c.paused
}

// resume ends pause.
func (c *conn) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = nil
}

// evict ends a connection before login that waits: for a command, for a handshake, or for the
// answer to a guess; false where something is under way.
func (c *conn) evict() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loggedIn || !c.waiting && c.paused == nil || c.evicted {
		return false
	}
	c.evicted = true
	if c.paused != nil {
		close(c.paused)
	}
	c.raw.SetReadDeadline(time.Unix(1, 0))
	return true
}

// wasEvicted reports whether evict has ended the connection.
func (c *conn) wasEvicted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evicted
}

// interrupted reports whether the server is shutting down.
func (c *conn) interrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// abort closes the connection under whatever is going on.
func (c *conn) abort() { c.raw.Close() }
