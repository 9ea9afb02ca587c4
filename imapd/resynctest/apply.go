package resynctest

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// response reads one response, with its literals in place.
func (c *Client) response() (string, error) {
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\r\n")
		all.WriteString(line)
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return all.String(), nil
		}
		n, _ := strconv.ParseInt(m[1], 10, 32)
		if _, err := io.CopyN(&all, c.r, n); err != nil {
			return "", err
		}
	}
}

var (
	literalEnd = regexp.MustCompile(`\{(\d+)\}$`)
	numberLine = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \(([^\r]*)\))?$`)
	codeLine   = regexp.MustCompile(`^\* OK \[(HIGHESTMODSEQ|UIDVALIDITY|NOMODSEQ|CLOSED) ?(\d*)\]`)
	vanishLine = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([0-9:,]+)$`)
	uidItem    = regexp.MustCompile(`(?:^| )UID (\d+)`)
	modseqItem = regexp.MustCompile(`(?:^| )MODSEQ \((\d+)\)`)
	flagsItem  = regexp.MustCompile(`(?:^| )FLAGS \(([^)]*)\)`)
)

// apply does what an untagged response says.
func (c *Client) apply(line string) error {
	if m := numberLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		switch m[2] {
		case "EXISTS":
			return c.applyExists(n)
		case "EXPUNGE":
			return c.applyExpunge(n)
		}
		return c.applyFetch(n, m[3])
	}
	if m := vanishLine.FindStringSubmatch(line); m != nil {
		uids, err := parseSet(m[2])
		if err != nil {
			return c.Fault("%v", err)
		}
		return c.applyVanished(m[1] != "", uids)
	}
	if m := codeLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseUint(m[2], 10, 63)
		switch m[1] {
		case "HIGHESTMODSEQ":
			c.highest = n
		case "NOMODSEQ":
			return c.Fault("modseqs are not kept")
		case "UIDVALIDITY":
			if c.validity != uint32(n) {
				c.validity, c.modseq, c.flags = uint32(n), 0, map[uint32]string{}
			}
		}
		return nil
	}
	if rest, ok := strings.CutPrefix(line, "* SEARCH"); ok {
		return c.applySearch(strings.Fields(rest))
	}
	return nil
}

// applyExists notes messages whose UIDs are not known yet.
func (c *Client) applyExists(n int) error {
	c.exists = n
	if c.selecting {
		return nil // numbers are made up once it is known what is gone
	}
	if n < len(c.numbers) {
		return c.Fault("%d EXISTS where there were %d", n, len(c.numbers))
	}
	for len(c.numbers) < n {
		c.numbers = append(c.numbers, 0)
	}
	return nil
}

// applyExpunge forgets a message by its number.
func (c *Client) applyExpunge(n int) error {
	if c.Qresync {
		return c.Fault("EXPUNGE in the place of VANISHED")
	}
	if n < 1 || n > len(c.numbers) {
		return c.Fault("EXPUNGE of number %d of %d", n, len(c.numbers))
	}
	delete(c.flags, c.numbers[n-1])
	c.numbers = slices.Delete(c.numbers, n-1, n)
	return nil
}

// applyVanished forgets messages by their UIDs. Without EARLIER each of them has a number.
func (c *Client) applyVanished(earlier bool, uids []uint32) error {
	if !c.Qresync || earlier && !c.earlier {
		return c.Fault("VANISHED that was not asked for")
	}
	if !earlier {
		if err := c.numberNow(); err != nil {
			return err
		}
	}
	for _, uid := range uids {
		if earlier {
			c.Vanished = append(c.Vanished, uid)
			if !c.selecting && slices.Contains(c.numbers, uid) {
				return c.Fault("VANISHED (EARLIER) of UID %d, which has a number", uid)
			}
			delete(c.flags, uid)
			continue
		}
		i := c.slot(uid)
		if i < 0 {
			return c.Fault("VANISHED of UID %d, which has no number", uid)
		}
		delete(c.flags, uid)
		c.numbers = slices.Delete(c.numbers, i, i+1)
	}
	return nil
}

// slot is the index of a UID by number, or of a message that EXISTS has told of which may
// be it; -1 where there is none.
func (c *Client) slot(uid uint32) int {
	free := -1
	for i, u := range c.numbers {
		switch {
		case u == uid:
			return i
		case u == 0 && free < 0:
			free = i
		case u > uid:
			return free
		case u > 0:
			free = -1
		}
	}
	return free
}

// numberNow gives numbers while CHANGEDSINCE is answered: all VANISHED (EARLIER) have come once
// something else does.
func (c *Client) numberNow() error {
	if c.earlier && !c.selecting {
		return c.number()
	}
	return nil
}

// applyFetch takes over flags and modseq. Every FETCH response that comes unasked in a
// session with CONDSTORE has UID and MODSEQ; those that this client asks for have UID.
func (c *Client) applyFetch(n int, items string) error {
	m := uidItem.FindStringSubmatch(items)
	if m == nil {
		return c.Fault("FETCH without UID")
	}
	u, _ := strconv.ParseUint(m[1], 10, 32)
	uid := uint32(u)
	if !c.selecting {
		if err := c.numberNow(); err != nil {
			return err
		}
		if n < 1 || n > len(c.numbers) {
			return c.Fault("FETCH of number %d of %d", n, len(c.numbers))
		}
		if was := c.numbers[n-1]; was != 0 && was != uid {
			return c.Fault("number %d is UID %d, and FETCH says %d", n, was, uid)
		}
		c.numbers[n-1] = uid
	}
	modseq := modseqItem.FindStringSubmatch(items)
	if modseq != nil {
		n, _ := strconv.ParseUint(modseq[1], 10, 63)
		c.seen = max(c.seen, n)
	}
	m = flagsItem.FindStringSubmatch(items)
	if m == nil {
		c.own[uid] = modseq != nil
		return nil
	}
	delete(c.own, uid)
	_, known := c.flags[uid]
	if known && c.earlier {
		c.Retold = append(c.Retold, uid)
	}
	if known || !c.selecting { // what is new is found by its UID, after SELECT
		c.flags[uid] = joinFlags(strings.Fields(m[1]))
	}
	return nil
}

// joinFlags gives flags one spelling.
func joinFlags(flags []string) string {
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// parseSet reads the set of a VANISHED, which ascends.
func parseSet(set string) (uids []uint32, err error) {
	last := uint64(0)
	for _, word := range strings.Split(set, ",") {
		first, stop, isRange := strings.Cut(word, ":")
		from, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			return nil, err
		}
		to := from
		if isRange {
			if to, err = strconv.ParseUint(stop, 10, 32); err != nil {
				return nil, err
			}
		}
		if from <= last || to < from || to-from > 1<<20 {
			return nil, fmt.Errorf("the set %.60q does not ascend", set)
		}
		for n := from; n <= to; n++ {
			uids = append(uids, uint32(n))
		}
		last = to
	}
	return uids, nil
}

// formatSet writes UIDs or numbers as a set.
func formatSet(numbers []uint32) string {
	var words []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		word := strconv.FormatUint(uint64(numbers[i]), 10)
		if j > i {
			word += ":" + strconv.FormatUint(uint64(numbers[j]), 10)
		}
		words = append(words, word)
		i = j + 1
	}
	return strings.Join(words, ",")
}
