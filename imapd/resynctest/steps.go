package resynctest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Step does something at random in a connection: it reads, changes, waits for nothing, leaves
// the mailbox, or is cut off in the middle of a command.
func (c *Client) Step() error {
	if c.Rand.IntN(15) == 0 {
		return c.breakOff()
	}
	uids := c.uids()
	if c.Rand.IntN(3) == 0 || c.readOnly || len(uids) == 0 || slices.Contains(c.numbers, 0) {
		return c.look(uids)
	}
	some := c.some(uids)
	switch c.Rand.IntN(9) {
	case 0:
		_, err := c.command("UID FETCH %s (BODY[]<0.1>)", formatSet(some)) // sets \Seen
		return err
	case 1:
		_, err := c.command("EXPUNGE")
		return err
	case 2:
		if err := c.store(some, false, `+FLAGS.SILENT (\Deleted)`); err != nil {
			return err
		}
		_, err := c.command("UID EXPUNGE %s", formatSet(some))
		return err
	case 3:
		_, err := c.command("UID COPY %s %s", formatSet(some), c.Mailbox)
		return err
	case 4:
		_, err := c.command("APPEND %s {5+}\r\na: b\n", c.Mailbox)
		return err
	case 5:
		// What CLOSE expunges nobody says.
		_, err := c.command("CLOSE")
		c.Cut()
		return err
	}
	ops := []string{"FLAGS.SILENT", "+FLAGS.SILENT", "-FLAGS.SILENT", "FLAGS", "+FLAGS", "-FLAGS"}
	what := fmt.Sprintf("%s (%s)", ops[c.Rand.IntN(len(ops))], RandomFlags(c.Rand.IntN))
	return c.store(some, c.Rand.IntN(2) == 0, what)
}

// look is a command that changes nothing. Those by number keep expunges back.
func (c *Client) look(uids []uint32) error {
	if c.Qresync && c.Rand.IntN(6) == 0 {
		return c.askAgain()
	}
	commands := []string{"NOOP", "CHECK", "UID SEARCH ALL", "SEARCH MODSEQ 1", "UID SEARCH MODSEQ 1",
		"STATUS " + c.Mailbox + " (HIGHESTMODSEQ)"}
	if n := len(c.numbers); n > 0 {
		n = 1 + c.Rand.IntN(n)
		commands = append(commands, fmt.Sprintf("FETCH %d (UID FLAGS MODSEQ)", n), fmt.Sprintf("FETCH 1:%d (UID MODSEQ)", n),
			fmt.Sprintf("UID SEARCH %d FLAGGED", n), fmt.Sprintf("SEARCH 1:%d", n), "UID FETCH 1:* (FLAGS MODSEQ)")
	}
	_, err := c.command("%s", commands[c.Rand.IntN(len(commands))])
	if err == nil && c.Rand.IntN(2) == 0 {
		err = c.fetchNew()
	}
	return err
}

// askAgain asks for changes that it has been told of, among others.
func (c *Client) askAgain() error {
	since := c.modseq - min(c.modseq, uint64(c.Rand.IntN(20)))
	if err := c.send("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", since); err != nil {
		return err
	}
	c.earlier = true
	_, err := c.finish()
	c.earlier = false
	if err == nil {
		c.take()
	}
	return err
}

// breakOff sends a command and hangs up before its end.
func (c *Client) breakOff() error {
	commands := []string{"NOOP", "EXPUNGE", "UID FETCH 1:* (FLAGS MODSEQ)", `UID STORE 1:* +FLAGS (\Flagged)`,
		`UID STORE 1:* (UNCHANGEDSINCE 5) -FLAGS.SILENT (\Seen)`}
	if err := c.send("%s", commands[c.Rand.IntN(len(commands))]); err != nil {
		return err
	}
	for range c.Rand.IntN(4) {
		line, err := c.response()
		if err != nil {
			return c.lost(err)
		}
		c.note("S: " + line)
		if strings.HasPrefix(line, "t") {
			break
		}
		if err := c.apply(line); err != nil {
			return err
		}
	}
	c.note("-- cut")
	c.Cut()
	return nil
}

// some picks UIDs.
func (c *Client) some(uids []uint32) []uint32 {
	var some []uint32
	for _, uid := range uids {
		if c.Rand.IntN(4) == 0 {
			some = append(some, uid)
		}
	}
	if len(some) == 0 {
		some = append(some, uids[c.Rand.IntN(len(uids))])
	}
	return some
}

// RandomFlags is a list of flags; intN is that of a random generator.
func RandomFlags(intN func(int) int) string {
	var flags []string
	for _, f := range []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`, `\Deleted`, "$a", "$b"} {
		if intN(4) == 0 {
			flags = append(flags, f)
		}
	}
	return strings.Join(flags, " ")
}

// store changes flags by UID or by number. Where the server answers a silent change with
// MODSEQ alone, the client knows what its flags are: its own change is all there was.
func (c *Client) store(uids []uint32, conditional bool, what string) error {
	verb, set := "UID STORE", formatSet(uids)
	if c.Rand.IntN(2) == 0 {
		verb = "STORE"
		var numbers []uint32
		for _, uid := range uids {
			if i := slices.Index(c.numbers, uid); i >= 0 {
				numbers = append(numbers, uint32(i+1))
			}
		}
		set = formatSet(numbers)
	}
	if conditional {
		since := c.modseq
		if c.Rand.IntN(3) == 0 {
			since = since / 2
		}
		set += fmt.Sprintf(" (UNCHANGEDSINCE %d)", since)
	}
	if _, err := c.command("%s %s %s", verb, set, what); err != nil {
		return err
	}
	m := storeItem.FindStringSubmatch(what)
	for uid := range c.own {
		if flags, ok := c.flags[uid]; ok && c.own[uid] {
			c.flags[uid] = changeFlags(flags, m[1], strings.Fields(m[2]))
		}
	}
	return nil
}

var storeItem = regexp.MustCompile(`^([+-]?)FLAGS(?:\.SILENT)? \(([^)]*)\)$`)

// changeFlags does what STORE does.
func changeFlags(flags, op string, change []string) string {
	now := strings.Fields(flags)
	switch op {
	case "":
		now = change
	case "-":
		now = slices.DeleteFunc(now, func(f string) bool { return slices.Contains(change, f) })
	default:
		for _, f := range change {
			if !slices.Contains(now, f) {
				now = append(now, f)
			}
		}
	}
	return joinFlags(slices.Clone(now))
}

// Idle waits in IDLE while the test does something.
func (c *Client) Idle(meanwhile func() error) error {
	if err := c.send("IDLE"); err != nil {
		return err
	}
	for {
		line, err := c.response()
		if err != nil {
			return c.lost(err)
		}
		c.note("S: " + line)
		if strings.HasPrefix(line, "+") {
			break
		}
		if err := c.apply(line); err != nil {
			return err
		}
	}
	if err := meanwhile(); err != nil {
		return err
	}
	c.note("C: DONE")
	if _, err := fmt.Fprint(c.conn, "DONE\r\n"); err != nil {
		return c.lost(err)
	}
	rest, err := c.finish()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(rest, "OK") {
		return c.Fault("IDLE is refused")
	}
	c.take()
	return nil
}

// Settle makes the client hear of everything that has happened.
func (c *Client) Settle() error {
	if _, err := c.command("NOOP"); err != nil {
		return err
	}
	return c.fetchNew()
}
