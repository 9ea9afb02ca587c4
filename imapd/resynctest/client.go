// Package resynctest is a mail client that goes away and comes back (RFC 7162), for tests. It
// does what a careful client does and no more: it keeps the flags of every message by UID,
// UIDVALIDITY and the highest modseq, by the rules of RFC 7162 section 6, and believes what it is
// told. Whatever the server leaves out stays wrong in its memory, where Verify finds it.
//
// A test makes changes of its own between calls, cuts the connection where it likes, and
// compares the client's memory with a plain session's view now and then.
package resynctest

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// ErrLost reports a connection that ended: by Cut, or because the server did.
var ErrLost = errors.New("resynctest: connection lost")

// A Client remembers one mailbox. Its methods must not be called concurrently. After an
// error that wraps ErrLost it is as after Cut; any other error is the server's fault.
type Client struct {
	// Dial connects, User and Password log in.
	Dial           func() (net.Conn, error)
	User, Password string
	Mailbox        string
	// Qresync makes it one that uses QRESYNC; otherwise it has CONDSTORE alone, and finds
	// out by SEARCH what is gone.
	Qresync bool
	Rand    *rand.Rand

	// What it remembers between connections.
	validity uint32
	modseq   uint64
	flags    map[uint32]string // by UID: sorted, without \Recent

	// Retold and Vanished are the UIDs that the last Resync told of, of messages that the
	// client had known and of those that are gone.
	Retold, Vanished []uint32
	// Resyncs is how often it came back.
	Resyncs int

	conn     net.Conn
	r        *bufio.Reader
	tag      int
	readOnly bool
	numbers  []uint32 // UIDs by message number; 0 is not known yet
	// Of the command under way:
	earlier   bool            // it asks for VANISHED (EARLIER)
	selecting bool            // the untagged responses are of SELECT
	searching bool            // SEARCH tells all UIDs
	exists    int             // the last EXISTS
	highest   uint64          // the last HIGHESTMODSEQ, or
	seen      uint64          // the highest MODSEQ
	own       map[uint32]bool // MODSEQ has come without FLAGS: a change that the client made

	selected uint64 // HIGHESTMODSEQ of SELECT
	plain    bool   // no modseqs at all
	log      []string
}

// Connected reports whether there is a connection with the mailbox selected.
func (c *Client) Connected() bool { return c.conn != nil }

// ModSeq is the highest modseq that the client remembers.
func (c *Client) ModSeq() uint64 { return c.modseq }

// Knows reports whether the client remembers a message.
func (c *Client) Knows(uid uint32) bool {
	_, ok := c.flags[uid]
	return ok
}

// Len is the number of messages that the client remembers.
func (c *Client) Len() int { return len(c.flags) }

// Cut ends the connection without a word. What is known above a message that is not is
// forgotten: the next connection takes what is new to be above all that is known.
func (c *Client) Cut() {
	if c.conn == nil {
		return
	}
	c.conn.Close()
	c.conn = nil
	gap := false
	for _, uid := range c.numbers {
		if _, known := c.flags[uid]; !known {
			gap = true
		} else if gap {
			delete(c.flags, uid)
		}
	}
	c.numbers = nil
}

// Verify compares what the client remembers with the truth, flags by UID.
func (c *Client) Verify(validity uint32, truth map[uint32]string) error {
	if c.validity != validity {
		return c.Fault("remembers UIDVALIDITY %d, it is %d", c.validity, validity)
	}
	for _, uid := range slices.Sorted(maps.Keys(truth)) {
		if got, ok := c.flags[uid]; !ok {
			return c.Fault("does not know UID %d (%s)", uid, truth[uid])
		} else if got != truth[uid] {
			return c.Fault("UID %d has %q, the client was told %q", uid, truth[uid], got)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(c.flags)) {
		if _, ok := truth[uid]; !ok {
			return c.Fault("UID %d is gone, and the client was not told", uid)
		}
	}
	if c.conn != nil && !slices.Equal(c.numbers, c.uids()) {
		return c.Fault("numbers %d messages %v", len(c.numbers), c.numbers)
	}
	return nil
}

// Fault is an error with what was said last.
func (c *Client) Fault(format string, args ...any) error {
	kind := "CONDSTORE"
	if c.Qresync {
		kind = "QRESYNC"
	}
	return fmt.Errorf("the %s client (modseq %d): %s\n%s", kind, c.modseq, fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}

// note keeps what was said, the last hundred lines of it.
func (c *Client) note(line string) {
	if c.log = append(c.log, line); len(c.log) > 150 {
		c.log = slices.Delete(c.log, 0, 50)
	}
}

// uids are those that the client knows, in order.
func (c *Client) uids() []uint32 { return slices.Sorted(maps.Keys(c.flags)) }

// connect logs in and enables.
func (c *Client) connect() error {
	conn, err := c.Dial()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	c.conn, c.r = conn, bufio.NewReader(conn)
	c.note("-- connected")
	if _, err := c.response(); err != nil {
		return c.lost(err)
	}
	if err := c.ok("LOGIN %s %s", c.User, c.Password); err != nil {
		return err
	}
	if c.plain {
		return nil
	}
	if c.Qresync {
		return c.ok("ENABLE QRESYNC")
	}
	if c.Rand.IntN(2) == 0 {
		return c.ok("ENABLE CONDSTORE")
	}
	return nil
}

// lost drops the connection.
func (c *Client) lost(err error) error {
	c.Cut()
	c.note("-- lost")
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// send sends a command.
func (c *Client) send(format string, args ...any) error {
	c.tag++
	line := fmt.Sprintf("t%d ", c.tag) + fmt.Sprintf(format, args...)
	c.note("C: " + line)
	c.exists, c.highest, c.seen = -1, 0, 0
	c.own = map[uint32]bool{}
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return c.lost(err)
	}
	return nil
}

// finish reads and applies up to the tagged response, whose rest it returns.
func (c *Client) finish() (string, error) {
	tag := fmt.Sprintf("t%d ", c.tag)
	for {
		line, err := c.response()
		if err != nil {
			return "", c.lost(err)
		}
		c.note("S: " + line)
		if rest, ok := strings.CutPrefix(line, tag); ok {
			if code, ok := strings.CutPrefix(rest, "OK [HIGHESTMODSEQ "); ok {
				fmt.Sscan(strings.TrimSuffix(strings.Fields(code)[0], "]"), &c.highest)
			}
			return rest, nil
		}
		if strings.HasPrefix(line, "* BYE") {
			return "", c.lost(errors.New(line))
		}
		if err := c.apply(line); err != nil {
			return "", err
		}
	}
}

// command runs a command and takes over the highest modseq: that of a HIGHESTMODSEQ even
// where a higher one was seen, else the highest seen (RFC 7162 section 6).
func (c *Client) command(format string, args ...any) (string, error) {
	if err := c.send(format, args...); err != nil {
		return "", err
	}
	rest, err := c.finish()
	if err == nil {
		c.take()
	}
	return rest, err
}

// take takes over the highest modseq at the end of a command.
func (c *Client) take() {
	switch {
	case c.highest > 0:
		c.modseq = c.highest
	case c.seen > c.modseq:
		c.modseq = c.seen
	}
}

// ok is a command that must succeed, before a mailbox is selected.
func (c *Client) ok(format string, args ...any) error {
	if err := c.send(format, args...); err != nil {
		return err
	}
	rest, err := c.finish()
	if err == nil && !strings.HasPrefix(rest, "OK") {
		err = c.Fault("refused")
	}
	return err
}
