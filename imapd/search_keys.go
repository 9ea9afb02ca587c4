package imapd

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// maxTexts bounds the keys of a SEARCH that look into messages: each is a pass over
// every message.
const maxTexts = 200

// maxKeys bounds all keys: each takes some 200 octets of memory for two of the line.
const maxKeys = 10_000

type keyKind int

const (
	keyAll keyKind = iota
	keyAnd
	keyOr
	keyNot
	keySet     // sequence numbers
	keyUIDSet  // UIDs
	keyFlag    // system flags, set
	keyUnflag  // system flags, not set
	keyKeyword // a keyword
	keyRecent
	keyModSeq // RFC 7162
	keyEmailID
	keyBefore // INTERNALDATE by days
	keyOn
	keySince
	keySentBefore // the Date header by days
	keySentOn
	keySentSince
	keyLarger
	keySmaller
	keyOlder // by seconds (RFC 5032)
	keyYounger
	keySavedBefore // the date of saving by days (RFC 8514)
	keySavedOn
	keySavedSince
	keyHeader
	keyBody
	keyText
)

// A searchKey is a node of a SEARCH program.
type searchKey struct {
	kind keyKind
	sub  []*searchKey

	ranges  []imapwire.Range // keySet: resolved; keyUIDSet: resolved
	set     imapwire.Set
	flag    mailbox.SystemFlags
	keyword string
	date    time.Time
	number  int64
	field   string // header field name, in lower case
	needle  string // folded text to find; "" is found wherever the field is
	find    []byte // needle, of keyHeader
	run     []byte // keyHeader with address: see addressRun
	subject bool   // keyHeader: SUBJECT
	address bool   // keyHeader: FROM, TO, CC or BCC
	text    int    // index of a body search; see matcher
}

// cost orders keys, so that the cheap ones decide first.
func (k *searchKey) cost() int {
	switch {
	case k.kind == keyAnd || k.kind == keyOr || k.kind == keyNot:
		c := 0
		for _, s := range k.sub {
			c = max(c, s.cost())
		}
		return c
	case k.kind >= keyBody:
		return 3
	case k.kind >= keyHeader || k.kind >= keySentBefore && k.kind <= keySentSince:
		return 2
	case k.kind >= keyBefore:
		return 1
	}
	return 0
}

// A searchParser reads a SEARCH program.
type searchParser struct {
	d       *imapwire.Decoder
	charset encoding.Encoding // nil: UTF-8
	texts   int
	keys    int
}

var flagKeys = map[string]struct {
	kind keyKind
	flag mailbox.SystemFlags
}{
	"ALL": {keyAll, 0}, "ANSWERED": {keyFlag, mailbox.Answered}, "DELETED": {keyFlag, mailbox.Deleted},
	"DRAFT": {keyFlag, mailbox.Draft}, "FLAGGED": {keyFlag, mailbox.Flagged}, "SEEN": {keyFlag, mailbox.Seen},
	"UNANSWERED": {keyUnflag, mailbox.Answered}, "UNDELETED": {keyUnflag, mailbox.Deleted},
	"UNDRAFT": {keyUnflag, mailbox.Draft}, "UNFLAGGED": {keyUnflag, mailbox.Flagged},
	"UNSEEN": {keyUnflag, mailbox.Seen}, "RECENT": {keyRecent, 0},
	"SAVEDATESUPPORTED": {keyAll, 0}, // each mailbox has them (RFC 8514 section 4.4)
}

var dateKeys = map[string]keyKind{
	"BEFORE": keyBefore, "ON": keyOn, "SINCE": keySince,
	"SENTBEFORE": keySentBefore, "SENTON": keySentOn, "SENTSINCE": keySentSince,
	"SAVEDBEFORE": keySavedBefore, "SAVEDON": keySavedOn, "SAVEDSINCE": keySavedSince,
}

var numberKeys = map[string]keyKind{
	"LARGER": keyLarger, "SMALLER": keySmaller, "OLDER": keyOlder, "YOUNGER": keyYounger,
}

// all reads keys up to the end of the command; they must all match.
func (p *searchParser) all() (*searchKey, error) {
	and := &searchKey{kind: keyAnd}
	for {
		k, err := p.key()
		if err != nil {
			return nil, err
		}
		and.sub = append(and.sub, k)
		if p.d.AtEnd() {
			return and, nil
		}
		if err := p.d.SP(); err != nil {
			return nil, err
		}
	}
}

// key reads one search-key (RFC 9051 section 6.4.4).
func (p *searchParser) key() (*searchKey, error) {
	d := p.d
	if p.keys++; p.keys > maxKeys {
		return nil, no("LIMIT", "Too many search keys.")
	}
	switch c := d.Peek(); {
	case c == '(':
		and := &searchKey{kind: keyAnd}
		err := d.List(func() error {
			k, err := p.key()
			and.sub = append(and.sub, k)
			return err
		})
		if err == nil && len(and.sub) == 0 {
			err = bad("Empty list of search keys.")
		}
		return and, err
	case c == '*' || c == '$' || c >= '0' && c <= '9':
		set, err := d.Set()
		return &searchKey{kind: keySet, set: set}, err
	}
	name, err := d.Keyword()
	if err != nil {
		return nil, bad("Expected a search key.")
	}
	if f, ok := flagKeys[name]; ok {
		return &searchKey{kind: f.kind, flag: f.flag}, nil
	}
	switch name {
	case "NEW": // (RECENT UNSEEN)
		return &searchKey{kind: keyAnd, sub: []*searchKey{{kind: keyRecent}, {kind: keyUnflag, flag: mailbox.Seen}}}, nil
	case "OLD":
		return &searchKey{kind: keyNot, sub: []*searchKey{{kind: keyRecent}}}, nil
	}
	if err := d.SP(); err != nil {
		return nil, bad("Unknown search key or missing argument.")
	}
	return p.argument(name)
}

// argument reads what follows the name of a key and its space.
func (p *searchParser) argument(name string) (*searchKey, error) {
	d := p.d
	if kind, ok := dateKeys[name]; ok {
		date, err := d.Date()
		return &searchKey{kind: kind, date: date}, err
	}
	if kind, ok := numberKeys[name]; ok {
		n, err := d.Number64()
		if err == nil && (n == 0 || n >= 1<<32) && (kind == keyOlder || kind == keyYounger) {
			err = bad("Invalid interval.")
		}
		return &searchKey{kind: kind, number: n}, err
	}
	switch name {
	case "MODSEQ":
		return p.modSeq()
	case "NOT":
		k, err := p.nested()
		return &searchKey{kind: keyNot, sub: []*searchKey{k}}, err
	case "OR":
		a, err := p.nested()
		if err != nil {
			return nil, err
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
		b, err := p.nested()
		return &searchKey{kind: keyOr, sub: []*searchKey{a, b}}, err
	case "EMAILID":
		id, err := p.objectIDArg()
		return &searchKey{kind: keyEmailID, needle: id}, err
	case "THREADID": // no message has one (RFC 8474 section 5.2)
		_, err := p.objectIDArg()
		return &searchKey{kind: keyNot, sub: []*searchKey{{kind: keyAll}}}, err
	case "UID":
		set, err := d.Set()
		return &searchKey{kind: keyUIDSet, set: set}, err
	case "KEYWORD", "UNKEYWORD":
		word, err := d.Atom()
		k := &searchKey{kind: keyKeyword, keyword: word}
		if name == "UNKEYWORD" {
			k = &searchKey{kind: keyNot, sub: []*searchKey{k}}
		}
		return k, err
	case "FROM", "TO", "CC", "BCC", "SUBJECT":
		k, err := p.textKey(keyHeader, strings.ToLower(name))
		if err == nil {
			k.subject, k.address = name == "SUBJECT", name != "SUBJECT"
		}
		return k, err
	case "HEADER":
		field, err := d.AString()
		if err != nil {
			return nil, err
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
		return p.textKey(keyHeader, strings.ToLower(string(field)))
	case "BODY":
		return p.textKey(keyBody, "")
	case "TEXT":
		return p.textKey(keyText, "")
	}
	return nil, bad("Unknown search key.")
}

// modSeq reads the arguments of MODSEQ. Entry and type of entry choose among the modseqs of a
// message's flags; it has but one, so they say nothing (RFC 7162 section 3.1.5).
func (p *searchParser) modSeq() (*searchKey, error) {
	d := p.d
	if c := d.Peek(); c < '0' || c > '9' {
		entry, err := d.AString()
		if err != nil {
			return nil, err
		}
		if len(entry) < len("/flags/") || !strings.EqualFold(string(entry[:len("/flags/")]), "/flags/") {
			return nil, bad("Invalid MODSEQ entry.")
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
		if !d.TryWord("all") && !d.TryWord("priv") && !d.TryWord("shared") {
			return nil, bad("Invalid MODSEQ type.")
		}
		if err := d.SP(); err != nil {
			return nil, err
		}
	}
	n, err := modSeqArg(d)
	return &searchKey{kind: keyModSeq, number: int64(n)}, err
}

// nested reads the key of NOT or OR, which can be deep without parentheses.
func (p *searchParser) nested() (*searchKey, error) {
	if err := p.d.Enter(); err != nil {
		return nil, err
	}
	defer p.d.Leave()
	return p.key()
}

// textKey reads a text to be found and folds it once, here.
func (p *searchParser) textKey(kind keyKind, field string) (*searchKey, error) {
	raw, err := p.d.AString()
	if err != nil {
		return nil, err
	}
	if p.texts++; p.texts > maxTexts {
		return nil, no("LIMIT", "Too many search keys that look into messages.")
	}
	text := string(raw)
	if p.charset != nil {
		if text, err = p.charset.NewDecoder().String(text); err != nil {
			return nil, bad("Search text is not in its character set.")
		}
	}
	folded := foldString(text)
	return &searchKey{kind: kind, field: field, needle: folded, find: []byte(folded), run: addressRun(folded)}, nil
}

// charsetArg reads the name of the character set that texts are in.
func (p *searchParser) charsetArg() error {
	name, err := p.d.AString()
	if err != nil {
		return err
	}
	var known bool
	if p.charset, known = charsetFor(string(name)); !known {
		return no("BADCHARSET (UTF-8 US-ASCII)", "Unknown charset.")
	}
	return nil
}

// charsetFor finds the decoder of a charset, nil for UTF-8 and US-ASCII.
func charsetFor(name string) (encoding.Encoding, bool) {
	switch strings.ToUpper(name) {
	case "UTF-8", "UTF8", "US-ASCII", "ASCII":
		return nil, true
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e, true
	}
	e, err := htmlindex.Get(name)
	return e, err == nil
}

// uses reports whether a program holds a key of a kind.
func (k *searchKey) uses(kind keyKind) bool {
	return k.kind == kind || slices.ContainsFunc(k.sub, func(sub *searchKey) bool { return sub.uses(kind) })
}
