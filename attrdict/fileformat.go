package attrdict

import (
	"bytes"
	"slices"
)

// A pair is one entry of a dictionary file. lines holds key and value as they stand in the
// file, escaped and each with its LF: what nobody changed is written back byte for byte.
type pair struct {
	key   string
	value []byte
	lines []byte
}

// contents is a parsed dictionary file. It is not changed after parsing.
type contents struct {
	pairs  []pair         // in the order of the file, each key once
	byKey  map[string]int // index into pairs
	sorted []int          // indices in byte order of the keys
	// dropped is set when the file ends in a line without LF, or in a key without a value:
	// such a rest is not read, by Dovecot either, and a rewrite loses it.
	dropped bool
}

// parseContents reads the format that OpenFile describes. No input is an error.
func parseContents(b []byte) *contents {
	c := &contents{byKey: map[string]int{}}
	for len(b) > 0 {
		key, rest, ok := cutLine(b)
		if !ok {
			c.dropped = true
			break
		}
		value, rest, ok := cutLine(rest)
		if !ok {
			c.dropped = true
			break
		}
		b = rest
		p := pair{string(unescape(key)), unescape(value), joinLines(key, value)}
		if bytes.HasSuffix(key, []byte{'\r'}) || bytes.HasSuffix(value, []byte{'\r'}) {
			p = newPair(p.key, p.value) // as it stands, the next reader would drop a CR
		}
		c.add(p)
	}
	c.sort()
	return c
}

// cutLine returns the first line without its LF or CR LF; an unterminated one is none.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(b, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest, ok
}

func joinLines(key, value []byte) []byte {
	out := make([]byte, 0, len(key)+len(value)+2)
	out = append(append(out, key...), '\n')
	return append(append(out, value...), '\n')
}

// add appends a pair; of two with one key the last wins.
func (c *contents) add(p pair) {
	if i, ok := c.byKey[p.key]; ok {
		c.pairs[i] = p
		return
	}
	c.byKey[p.key] = len(c.pairs)
	c.pairs = append(c.pairs, p)
}

func (c *contents) sort() {
	c.sorted = make([]int, len(c.pairs))
	for i := range c.sorted {
		c.sorted[i] = i
	}
	slices.SortFunc(c.sorted, func(a, b int) int {
		return bytes.Compare([]byte(c.pairs[a].key), []byte(c.pairs[b].key))
	})
}

func (c *contents) get(key string) ([]byte, bool) {
	i, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	return c.pairs[i].value, true
}

// with returns the contents after changes, of which nil values remove. New keys come last.
func (c *contents) with(changes map[string]*[]byte) *contents {
	out := &contents{byKey: make(map[string]int, len(c.pairs)+len(changes))}
	for _, p := range c.pairs {
		if v, ok := changes[p.key]; ok {
			if v == nil {
				continue
			}
			p = newPair(p.key, *v)
		}
		out.add(p)
	}
	added := make([]string, 0, len(changes))
	for key, v := range changes {
		if _, ok := c.byKey[key]; !ok && v != nil {
			added = append(added, key)
		}
	}
	slices.Sort(added)
	for _, key := range added {
		out.add(newPair(key, *changes[key]))
	}
	out.sort()
	return out
}

func newPair(key string, value []byte) pair {
	return pair{key, value, joinLines(escape([]byte(key)), escape(value))}
}

// format returns the file.
func (c *contents) format() []byte {
	n := 0
	for _, p := range c.pairs {
		n += len(p.lines)
	}
	out := make([]byte, 0, n)
	for _, p := range c.pairs {
		out = append(out, p.lines...)
	}
	return out
}

// Dovecot: strescape.c, str_append_tabescaped() and str_tabunescape().
const escapeByte = 1

func escape(b []byte) []byte {
	if !bytes.ContainsAny(b, "\x00\x01\t\r\n") {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for _, c := range b {
		switch c {
		case 0:
			out = append(out, escapeByte, '0')
		case escapeByte:
			out = append(out, escapeByte, '1')
		case '\t':
			out = append(out, escapeByte, 't')
		case '\r':
			out = append(out, escapeByte, 'r')
		case '\n':
			out = append(out, escapeByte, 'n')
		default:
			out = append(out, c)
		}
	}
	return out
}

// unescape returns a copy. An unknown escape yields its second byte; a lone 0x01 at the
// end is dropped.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == escapeByte {
			if i++; i == len(b) {
				break
			}
			switch c = b[i]; c {
			case '0':
				c = 0
			case '1':
				c = escapeByte
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'n':
				c = '\n'
			}
		}
		out = append(out, c)
	}
	return out
}
