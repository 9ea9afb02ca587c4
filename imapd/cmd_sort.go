package imapd

import (
	"cmp"
	"slices"

	"mailcrypt/message"
)

// A sortKind is a criterion of SORT (RFC 5256 section 3, RFC 5957).
type sortKind int

const (
	sortArrival sortKind = iota
	sortSize
	sortDate // this one and those below are of the header
	sortSubject
	sortFrom
	sortTo
	sortCc
	sortDisplayFrom
	sortDisplayTo
)

var sortKinds = map[string]sortKind{
	"ARRIVAL": sortArrival, "SIZE": sortSize, "DATE": sortDate, "SUBJECT": sortSubject, "FROM": sortFrom, "TO": sortTo,
	"CC": sortCc, "DISPLAYFROM": sortDisplayFrom, "DISPLAYTO": sortDisplayTo,
}

// sort is SORT and UID SORT.
func (s *session) sort(c *call) (err error) {
	p := &searchParser{d: s.dec}
	var ret searchReturn
	defer func() { s.unsave(&ret, err) }()
	if err := s.dec.SP(); err != nil {
		return err
	}
	if err := s.returnOptions(&ret); err != nil {
		return err
	}
	columns, err := s.sortCriteria()
	if err != nil {
		return err
	}
	program, err := s.searchCriteria(c, p)
	if err != nil {
		return err
	}
	f := &finding{session: s, call: c, ret: &ret, matcher: newMatcher(s, program), whole: true}
	f.headers = slices.ContainsFunc(columns, func(c *sortColumn) bool { return c.kind >= sortDate })
	t := &sortTable{finding: f, columns: columns}
	f.each = t.add
	if err := f.run(); err != nil {
		return err
	}
	f.found = t.sorted()
	f.save()
	s.writeResult(c, "SORT", &ret, f.found)
	f.report()
	return nil
}

// sortCriteria reads the list of criteria. One that comes twice can decide nothing the
// second time and is left out.
func (s *session) sortCriteria() ([]*sortColumn, error) {
	var columns []*sortColumn
	reverse := false
	err := s.dec.List(func() error {
		name, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		if name == "REVERSE" {
			if reverse {
				return bad("REVERSE twice.")
			}
			reverse = true
			return nil
		}
		kind, ok := sortKinds[name]
		if !ok {
			return bad("Unknown sort criterion.")
		}
		if !slices.ContainsFunc(columns, func(c *sortColumn) bool { return c.kind == kind }) {
			columns = append(columns, &sortColumn{kind: kind, reverse: reverse})
		}
		reverse = false
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case reverse:
		return nil, bad("REVERSE of nothing.")
	case len(columns) == 0:
		return nil, bad("No sort criterion.")
	}
	return columns, nil
}

// searchCriteria reads a charset and the keys up to the end of the command, as SORT and
// THREAD have them.
func (s *session) searchCriteria(c *call, p *searchParser) (*searchKey, error) {
	if err := s.dec.SP(); err != nil {
		return nil, err
	}
	if err := p.charsetArg(); err != nil {
		return nil, err
	}
	if err := s.dec.SP(); err != nil {
		return nil, err
	}
	return s.searchProgram(c, p)
}

// A sortColumn holds one criterion's keys of all messages found, as numbers or as texts.
type sortColumn struct {
	kind    sortKind
	reverse bool
	numbers []int64
	texts   []string
}

// compare compares the keys of two rows.
func (c *sortColumn) compare(a, b int) int {
	d := 0
	if c.numbers != nil {
		d = cmp.Compare(c.numbers[a], c.numbers[b])
	} else {
		d = cmp.Compare(c.texts[a], c.texts[b])
	}
	if c.reverse {
		return -d
	}
	return d
}

// A sortTable gathers keys, a row for each message found. Of a message that cannot be read
// the keys from its header are empty.
type sortTable struct {
	*finding
	columns []*sortColumn
}

// add makes a row.
func (t *sortTable) add(int) error {
	var h headerKeys
	for _, c := range t.columns {
		if c.kind >= sortDate {
			var err error
			if h, err = t.headerKeys(); err != nil {
				return err
			}
			break
		}
	}
	for _, c := range t.columns {
		if err := t.cell(c, h); err != nil {
			return err
		}
	}
	return nil
}

// cell adds one key.
func (t *sortTable) cell(c *sortColumn, h headerKeys) error {
	switch c.kind {
	case sortArrival:
		at, err := t.arrival()
		c.numbers = append(c.numbers, at)
		return err
	case sortSize:
		n, err := t.sizeOf(t.matcher.msg)
		c.numbers = append(c.numbers, n)
		return t.forgive(err)
	case sortDate:
		at, err := t.sentDate(h.date)
		c.numbers = append(c.numbers, at)
		return err
	}
	c.texts = append(c.texts, shortKey(h.text(c.kind)))
	return nil
}

// text is the key of a criterion that compares text.
func (h *headerKeys) text(kind sortKind) string {
	switch kind {
	case sortSubject:
		base, _ := message.BaseSubject(h.subject)
		return base
	case sortFrom:
		return message.Casemap(message.FirstMailbox(h.from))
	case sortTo:
		return message.Casemap(message.FirstMailbox(h.to))
	case sortCc:
		return message.Casemap(message.FirstMailbox(h.cc))
	case sortDisplayFrom:
		return message.Casemap(message.FirstDisplayName(h.from))
	}
	return message.Casemap(message.FirstDisplayName(h.to))
}

// sorted returns the messages found in the order of the criteria. Where all are equal they
// stay in the order of the mailbox, reversed or not.
func (t *sortTable) sorted() []int {
	rows := make([]int, len(t.found))
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int {
		for _, c := range t.columns {
			if d := c.compare(a, b); d != 0 {
				return d
			}
		}
		return 0
	})
	for i, r := range rows {
		rows[i] = t.found[r]
	}
	return rows
}
