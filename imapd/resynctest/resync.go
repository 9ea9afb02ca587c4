package resynctest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Resync connects, selects the mailbox in one of the ways there are, and brings the memory up
// to date. It does nothing while there is a connection.
func (c *Client) Resync() error {
	if c.conn != nil {
		return nil
	}
	c.Retold, c.Vanished = nil, nil
	if c.flags == nil {
		c.flags = map[uint32]string{}
	}
	err := c.connect()
	if err == nil {
		err = c.selectAndResync()
	}
	if err == nil {
		err = c.fetchNew()
	}
	if err == nil {
		c.Resyncs++
	}
	return err
}

// selectAndResync selects the mailbox and learns what has changed of what is known.
func (c *Client) selectAndResync() error {
	c.readOnly = c.Rand.IntN(4) == 0
	verb := "SELECT"
	if c.readOnly {
		verb = "EXAMINE"
	}
	if c.Qresync && c.modseq > 0 && c.Rand.IntN(3) > 0 {
		return c.selectBox(true, "%s %s (QRESYNC (%s))", verb, c.Mailbox, c.resyncArgs())
	}
	param := ""
	if !c.Qresync {
		param = " (CONDSTORE)"
	}
	if err := c.selectBox(false, "%s %s%s", verb, c.Mailbox, param); err != nil {
		return err
	}
	return c.resyncByFetch()
}

// resyncArgs are the arguments of QRESYNC: with and without the UIDs that are known, and with a
// sample of them by number.
func (c *Client) resyncArgs() string {
	args := fmt.Sprintf("%d %d", c.validity, c.modseq)
	uids := c.uids()
	if len(uids) == 0 {
		return args
	}
	switch c.Rand.IntN(3) {
	case 0:
		args += " " + formatSet(uids)
	case 1:
		args += fmt.Sprintf(" 1:%d", uids[len(uids)-1])
	}
	if c.Rand.IntN(2) == 0 {
		return args
	}
	var numbers, sample []uint32
	for i, uid := range uids {
		if c.Rand.IntN(3) == 0 {
			numbers, sample = append(numbers, uint32(i+1)), append(sample, uid)
		}
	}
	if len(sample) == 0 {
		return args
	}
	return args + " (" + formatSet(numbers) + " " + formatSet(sample) + ")"
}

// selectBox selects. What SELECT says of HIGHESTMODSEQ counts once all changes up to it have
// come: with QRESYNC at the tagged response.
func (c *Client) selectBox(resync bool, format string, args ...any) error {
	if err := c.send(format, args...); err != nil {
		return err
	}
	was := c.modseq
	c.selecting, c.earlier = true, resync
	rest, err := c.finish()
	c.selecting, c.earlier = false, false
	if err != nil {
		return err
	}
	if !strings.HasPrefix(rest, "OK") || c.highest == 0 || c.exists < 0 {
		return c.Fault("SELECT tells %d EXISTS, HIGHESTMODSEQ %d", c.exists, c.highest)
	}
	if c.modseq > 0 && c.highest < was {
		return c.Fault("HIGHESTMODSEQ fell from %d to %d", was, c.highest)
	}
	c.selected = c.highest
	c.numbers = make([]uint32, c.exists)
	if resync || c.modseq == 0 {
		c.modseq = c.selected
		return c.number()
	}
	return nil
}

// resyncByFetch asks what has changed once the mailbox is selected.
func (c *Client) resyncByFetch() error {
	uids := c.uids()
	if len(uids) == 0 {
		c.modseq = c.selected
		return nil
	}
	set := "1:*"
	if c.Rand.IntN(2) == 0 {
		set = fmt.Sprintf("1:%d", uids[len(uids)-1])
	}
	vanished := ""
	if c.Qresync {
		vanished = " VANISHED"
	} else if err := c.findGone(); err != nil {
		return err
	}
	if err := c.send("UID FETCH %s (FLAGS) (CHANGEDSINCE %d%s)", set, c.modseq, vanished); err != nil {
		return err
	}
	c.earlier = true
	rest, err := c.finish()
	c.earlier = false
	if err != nil {
		return err
	}
	if !strings.HasPrefix(rest, "OK") {
		return c.Fault("CHANGEDSINCE is refused")
	}
	c.take()
	c.modseq = max(c.modseq, c.selected)
	return c.number()
}

// findGone finds out by their UIDs which messages there are. Their modseqs do not count: the
// changes before them are still to come.
func (c *Client) findGone() error {
	if err := c.send("UID SEARCH ALL"); err != nil {
		return err
	}
	c.searching = true
	rest, err := c.finish()
	if err == nil && (!strings.HasPrefix(rest, "OK") || c.searching) {
		err = c.Fault("SEARCH without a result")
	}
	c.searching = false
	return err
}

// applySearch takes over the UIDs of all messages, in the order of their numbers.
func (c *Client) applySearch(words []string) error {
	if !c.searching {
		return nil
	}
	c.searching = false
	there := map[uint32]bool{}
	if len(words) != len(c.numbers) {
		return c.Fault("SEARCH ALL finds %d messages of %d", len(words), len(c.numbers))
	}
	for i, word := range words {
		n, _ := strconv.ParseUint(word, 10, 32)
		c.numbers[i] = uint32(n)
		there[uint32(n)] = true
	}
	maps.DeleteFunc(c.flags, func(uid uint32, _ string) bool { return !there[uid] })
	return nil
}

// number gives those of the known messages their numbers that have none: the first ones that
// are free, for what is gone is known to be so, and what is not known is newer.
func (c *Client) number() error {
	if !c.Qresync {
		return nil // SEARCH has told
	}
	at := 0
	for _, uid := range c.uids() {
		if slices.Contains(c.numbers, uid) {
			continue
		}
		for at < len(c.numbers) && c.numbers[at] != 0 {
			at++
		}
		if at == len(c.numbers) {
			return c.Fault("%d messages are known, and %d EXIST", len(c.flags), len(c.numbers))
		}
		c.numbers[at] = uid
	}
	last := uint32(0)
	for _, uid := range c.numbers {
		if uid != 0 && uid <= last {
			return c.Fault("UIDs by number do not ascend: %v", c.numbers)
		}
		last = max(last, uid)
	}
	return nil
}

// fetchNew fetches the flags of messages that are not known, as long as there are any. Others may
// go on saving meanwhile; each FETCH must find what was told of before it.
func (c *Client) fetchNew() error {
	from, try := uint32(0), 0
	for {
		last, missing := uint32(0), false
		for _, uid := range c.numbers {
			if _, known := c.flags[uid]; !known {
				missing = true
				break
			}
			last = uid
		}
		if !missing {
			return nil
		}
		if try++; last > from {
			from, try = last, 0
		}
		if try == 5 {
			return c.Fault("a message was told of, and FETCH does not find it")
		}
		if _, err := c.command("UID FETCH %d:* (FLAGS MODSEQ)", last+1); err != nil {
			return err
		}
	}
}

// Truth reads flags by UID in a session of its own, which knows nothing of modseqs.
func (c *Client) Truth() (validity uint32, truth map[uint32]string, err error) {
	plain := &Client{Dial: c.Dial, User: c.User, Password: c.Password, Mailbox: c.Mailbox, plain: true,
		Rand: c.Rand, flags: map[uint32]string{}}
	defer plain.Cut()
	if err = plain.connect(); err == nil {
		err = plain.selectBox(false, "EXAMINE %s", c.Mailbox)
	}
	if err == nil && len(plain.numbers) > 0 {
		_, err = plain.command("UID FETCH 1:* (FLAGS)")
	}
	return plain.validity, plain.flags, err
}
