package imapd

import (
	"net"
	"sync"
	"time"
)

// A conn is a connection that sets a deadline before each read and write. What the
// reads wait for decides how long.
type conn struct {
	t *Timeouts

	mu       sync.Mutex
	nc       net.Conn
	raw      net.Conn // below TLS
	waiting  bool     // for the next command, where a shutdown may interrupt
	closing  bool     // interrupt was called
	loggedIn bool
	begun    time.Time // of the connection
	until    time.Time // before login: end of patience with the current command
}

// newConn begins the clock of a connection.
func newConn(nc net.Conn, t *Timeouts) *conn {
	return &conn{t: t, nc: nc, raw: nc, begun: time.Now()}
}

// wait says whether the next reads wait for a command to begin.
func (c *conn) wait(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
	if waiting && !c.loggedIn {
		c.until = time.Now().Add(c.t.Login)
		if end := c.begun.Add(c.t.PreLogin); end.Before(c.until) {
			c.until = end
		}
	}
}

// setLoggedIn gives the patience for a client that is known.
func (c *conn) setLoggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loggedIn = true
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
	nc, now := c.nc, time.Now()
	var deadline time.Time
	switch {
	case c.closing && c.waiting:
		deadline = now
	case !c.loggedIn:
		deadline = c.until
	case c.waiting:
		deadline = now.Add(c.t.Idle)
	default:
		deadline = now.Add(c.t.Progress)
	}
	nc.SetReadDeadline(deadline)
	c.mu.Unlock()
	n, err := nc.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.waiting = false // a command has begun: let it be finished
		c.mu.Unlock()
	}
	return n, err
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

const flushPiece = 64 << 10

// interrupt makes a read that waits for a command fail, now or when it comes.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.waiting {
		c.nc.SetReadDeadline(time.Now())
	}
}

// interrupted reports whether the server is shutting down.
func (c *conn) interrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// abort closes the connection under whatever is going on.
func (c *conn) abort() { c.raw.Close() }
