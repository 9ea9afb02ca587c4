package imapd

import (
	"slices"
	"strconv"
	"strings"

	"mailcrypt/imapd/imapwire"
)

const (
	// maxPath is the deepest section number that is looked for.
	maxPath = 128
	// maxNames bounds the header field names of an item.
	maxNames = 10_000
	// maxItems bounds the items of a FETCH, once repetitions are left out.
	maxItems = 500
)

type itemKind int

const (
	itemUID itemKind = iota
	itemFlags
	itemInternalDate
	itemSize
	itemModSeq
	itemSaveDate
	itemEmailID
	itemThreadID
	itemLazyPreview
	itemPreview
	itemEnvelope
	itemBody
	itemBodyStructure
	itemSection
	itemBinary
	itemBinarySize
)

// A fetchItem is one thing that FETCH asks for.
type fetchItem struct {
	kind itemKind
	name string // how the response calls it
	section
	seen    bool // fetching it sets \Seen
	partial bool // only count octets from offset
	offset  int64
	count   int64
}

// A section names a piece of a message (RFC 9051 section 6.4.5).
type section struct {
	path  []int
	what  string   // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	names []string // of header fields
}

// needsText reports whether the item needs the message's plaintext. A preview that may be
// left out opens the message itself.
func (i *fetchItem) needsText() bool { return i.kind >= itemPreview }

// place parts a response: 0 for what stands at its beginning, 1 for structures and bodies.
func (i *fetchItem) place() int {
	if i.needsText() && i.kind != itemPreview {
		return 1
	}
	return 0
}

var simpleItems = map[string][]fetchItem{
	"UID":           {{kind: itemUID, name: "UID"}},
	"FLAGS":         {{kind: itemFlags, name: "FLAGS"}},
	"INTERNALDATE":  {{kind: itemInternalDate, name: "INTERNALDATE"}},
	"RFC822.SIZE":   {{kind: itemSize, name: "RFC822.SIZE"}},
	"MODSEQ":        {{kind: itemModSeq, name: "MODSEQ"}},
	"SAVEDATE":      {{kind: itemSaveDate, name: "SAVEDATE"}},
	"EMAILID":       {{kind: itemEmailID, name: "EMAILID"}},
	"THREADID":      {{kind: itemThreadID, name: "THREADID"}},
	"PREVIEW":       {{kind: itemPreview, name: "PREVIEW"}},
	"ENVELOPE":      {{kind: itemEnvelope, name: "ENVELOPE"}},
	"BODY":          {{kind: itemBody, name: "BODY"}},
	"BODYSTRUCTURE": {{kind: itemBodyStructure, name: "BODYSTRUCTURE"}},
	"RFC822":        {{kind: itemSection, name: "RFC822", seen: true}},
	"RFC822.HEADER": {{kind: itemSection, name: "RFC822.HEADER", section: section{what: "HEADER"}}},
	"RFC822.TEXT":   {{kind: itemSection, name: "RFC822.TEXT", section: section{what: "TEXT"}, seen: true}},
}

var macroNames = map[string][]string{
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// fetchItems reads a macro, an item, or a list of items. An item that is asked for
// twice is answered once, which bounds the output.
func fetchItems(d *imapwire.Decoder) ([]fetchItem, error) {
	var items []fetchItem
	named := map[string]bool{}
	add := func(i fetchItem) error {
		if named[i.key()] {
			return nil
		}
		named[i.key()] = true
		if items = append(items, i); len(items) > maxItems {
			return bad("Too many FETCH items.")
		}
		return nil
	}
	one := func() error {
		i, err := fetchOne(d)
		if err != nil {
			return err
		}
		return add(i)
	}
	if d.Peek() == '(' {
		if err := d.List(one); err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return nil, bad("Empty FETCH list.")
		}
		return items, nil
	}
	for macro, names := range macroNames {
		if d.TryWord(macro) {
			for _, n := range names {
				add(simpleItems[n][0])
			}
			return items, nil
		}
	}
	return items, one()
}

// key tells items apart whose answers differ.
func (i *fetchItem) key() string {
	k := i.name
	if i.partial {
		k += "." + itoa(i.count)
	}
	if i.seen {
		k += "!"
	}
	return k
}

// fetchOne reads one item: a word, and for BODY and BINARY a section and a range.
func fetchOne(d *imapwire.Decoder) (fetchItem, error) {
	name, err := fetchName(d)
	if err != nil {
		return fetchItem{}, err
	}
	if name == "PREVIEW" && d.TryPrefix(" (LAZY)") {
		return fetchItem{kind: itemLazyPreview, name: name}, nil
	}
	if d.Peek() != '[' {
		if known, ok := simpleItems[name]; ok {
			return known[0], nil
		}
		return fetchItem{}, bad("Unknown FETCH item.")
	}
	i := fetchItem{kind: itemSection, name: "BODY"}
	switch name {
	case "BODY":
		i.seen = true
	case "BODY.PEEK":
	case "BINARY":
		i.kind, i.name, i.seen = itemBinary, "BINARY", true
	case "BINARY.PEEK":
		i.kind, i.name = itemBinary, "BINARY"
	case "BINARY.SIZE":
		i.kind, i.name = itemBinarySize, "BINARY.SIZE"
	default:
		return fetchItem{}, bad("Unknown FETCH item.")
	}
	if err := i.readSection(d); err != nil {
		return fetchItem{}, err
	}
	if d.Peek() == '<' && i.kind != itemBinarySize {
		return i, i.readPartial(d)
	}
	return i, nil
}

// fetchName reads the word before a "[", which is an atom character.
func fetchName(d *imapwire.Decoder) (string, error) {
	name, err := d.Word("[<")
	return strings.ToUpper(name), err
}

// readSection reads "[...]" and completes the name of the response.
func (i *fetchItem) readSection(d *imapwire.Decoder) error {
	d.Try('[')
	text := ""
	for d.Peek() >= '0' && d.Peek() <= '9' {
		n, err := d.NZNumber()
		if err != nil {
			return err
		}
		if len(i.path) == maxPath {
			return bad("Section too deep.")
		}
		// No message has that many parts: what lies above is not found in any case.
		i.path = append(i.path, int(min(n, 1<<30)))
		if text != "" {
			text += "."
		}
		text += strconv.FormatUint(uint64(n), 10)
		if !d.Try('.') {
			break
		}
		if c := d.Peek(); c < '0' || c > '9' {
			text += "."
			if d.Peek() == ']' {
				return bad("Invalid section.")
			}
		}
	}
	if d.Peek() != ']' {
		if len(i.path) > 0 && !strings.HasSuffix(text, ".") || i.kind != itemSection {
			return bad("Invalid section.")
		}
		word, err := d.Word("]")
		if err != nil {
			return err
		}
		i.what = strings.ToUpper(word)
		text += i.what
		switch i.what {
		case "HEADER", "TEXT":
		case "MIME":
			if len(i.path) == 0 {
				return bad("MIME needs a part.")
			}
		case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
			if err := i.readNames(d); err != nil {
				return err
			}
			text += " (" + strings.Join(i.names, " ") + ")"
		default:
			return bad("Unknown section.")
		}
	}
	if err := d.Expect(']'); err != nil {
		return err
	}
	i.name += "[" + text + "]"
	return nil
}

// readNames reads the header field names of HEADER.FIELDS. The response repeats them, in
// capitals as Dovecot does, so they must be what an atom can hold.
func (i *fetchItem) readNames(d *imapwire.Decoder) error {
	if err := d.SP(); err != nil {
		return err
	}
	err := d.List(func() error {
		n, err := d.AString()
		if err != nil {
			return err
		}
		if len(n) == 0 || slices.ContainsFunc(n, func(c byte) bool { return c <= 0x20 || c >= 0x7f || c == ':' }) {
			return bad("Invalid header field name.")
		}
		if len(i.names) == maxNames {
			return bad("Too many header field names.")
		}
		name := strings.ToUpper(string(n))
		if strings.ContainsAny(name, `(){%*"\]`) {
			return bad("Invalid header field name.")
		}
		i.names = append(i.names, name)
		return nil
	})
	if err == nil && len(i.names) == 0 {
		return bad("Empty list of header fields.")
	}
	return err
}

// readPartial reads "<offset.count>".
func (i *fetchItem) readPartial(d *imapwire.Decoder) (err error) {
	d.Try('<')
	if i.offset, err = d.Number64(); err != nil {
		return err
	}
	if err := d.Expect('.'); err != nil {
		return err
	}
	if i.count, err = d.Number64(); err != nil {
		return err
	}
	if i.count == 0 {
		return bad("Partial fetch of nothing.")
	}
	i.partial = true
	i.name += "<" + itoa(i.offset) + ">"
	return d.Expect('>')
}
