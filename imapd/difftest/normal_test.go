package difftest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A normaliser turns the responses of one server in one script into what is compared:
// what RFCs leave to a server is replaced or put in order, all else stays.
type normaliser struct {
	symbols map[string]string // by kind and value: "V1700000000" to "V1"
	values  map[string]string // "V1" to 1700000000
	counts  map[string]int
	modseqs bool // the script is about them
}

// newNormaliser prepares for a script. Dovecot says HIGHESTMODSEQ only in mailboxes where a
// client has asked for modseqs, and RFC 7162 section 3.1.2 leaves that open.
func newNormaliser(s *script) *normaliser {
	n := &normaliser{map[string]string{}, map[string]string{}, map[string]int{}, false}
	for _, st := range s.steps {
		n.modseqs = n.modseqs || aboutModSeqs.MatchString(st.text)
	}
	return n
}

var aboutModSeqs = regexp.MustCompile(`(?i)CONDSTORE|QRESYNC|MODSEQ|CHANGEDSINCE`)

// symbol names a value that the server chose.
func (n *normaliser) symbol(kind, value string) string {
	if s, ok := n.symbols[kind+value]; ok {
		return s
	}
	n.counts[kind]++
	s := fmt.Sprintf("%s%d", kind, n.counts[kind])
	n.symbols[kind+value], n.values[s] = s, value
	return s
}

var symbolMark = regexp.MustCompile(`%([VMO][0-9]+)%`)

// fill puts the server's own values into a command.
func (n *normaliser) fill(text string) (out string, err error) {
	out = symbolMark.ReplaceAllStringFunc(text, func(m string) string {
		v, ok := n.values[strings.Trim(m, "%")]
		if !ok {
			err = fmt.Errorf("no %s has been seen", m)
		}
		return v
	})
	return out, err
}

// responses normalises the answer to one command.
func (n *normaliser) responses(in []string) []string {
	var out []string
	for _, r := range in {
		if r = n.response(strings.TrimSuffix(r, "\r\n")); r != "" {
			out = append(out, r)
		}
	}
	sortRuns(out)
	return out
}

var (
	statusLine = regexp.MustCompile(`(?s)^([^ ]+) (OK|NO|BAD|BYE|PREAUTH)(?: (.*))?$`)
	ownTag     = regexp.MustCompile(`^tag[0-9]+$`)
	fetchLine  = regexp.MustCompile(`^\* [0-9]+ FETCH \(`)
)

// response normalises one; "" drops it.
func (n *normaliser) response(r string) string {
	if strings.HasPrefix(r, "+") {
		return "+" // the text is for people
	}
	if m := statusLine.FindStringSubmatch(r); m != nil {
		return n.status(m[1], m[2], m[3])
	}
	word := strings.Fields(r + " x x")[1]
	switch {
	case word == "CAPABILITY":
		return "* CAPABILITY" // TestCapability compares them
	case word == "ID":
		return "* ID"
	case word == "FLAGS":
		return sortList(r, "FLAGS")
	case word == "LIST" || word == "LSUB":
		return sortFirstList(r)
	case word == "STATUS":
		r = n.numbers(statusNumber, r)
		return n.objects(r)
	case word == "SEARCH" || word == "SORT" || word == "ESEARCH" || word == "VANISHED":
		return n.numbers(searchModseq, r)
	case fetchLine.MatchString(r):
		return n.fetch(r)
	}
	return r
}

var (
	codeNumber   = regexp.MustCompile(`(UIDVALIDITY|APPENDUID|COPYUID|HIGHESTMODSEQ|MODIFIED) ([0-9]+)`)
	statusNumber = regexp.MustCompile(`(UIDVALIDITY|HIGHESTMODSEQ) ([0-9]+)`)
	searchModseq = regexp.MustCompile(`(MODSEQ) ([0-9]+)`)
	fetchModseq  = regexp.MustCompile(`(MODSEQ) \(([0-9]+)\)`)
	objectID     = regexp.MustCompile(`(MAILBOXID|EMAILID|THREADID) \(([^)]+)\)`)
)

// numbers replaces UIDVALIDITYs and modseqs by symbols.
func (n *normaliser) numbers(re *regexp.Regexp, r string) string {
	return re.ReplaceAllStringFunc(r, func(m string) string {
		g := re.FindStringSubmatch(m)
		kind := "V"
		switch {
		case g[1] == "MODIFIED": // a set of messages
			return m
		case strings.Contains(g[1], "MODSEQ"):
			kind = "M"
		}
		return strings.Replace(m, g[2], n.symbol(kind, g[2]), 1)
	})
}

func (n *normaliser) objects(r string) string {
	return objectID.ReplaceAllStringFunc(r, func(m string) string {
		g := objectID.FindStringSubmatch(m)
		return g[1] + " (" + n.symbol("O", g[2]) + ")"
	})
}

// status keeps the kind and the code of a status response. An untagged OK that holds
// nothing but words is dropped.
func (n *normaliser) status(tag, kind, rest string) string {
	code := ""
	if strings.HasPrefix(rest, "[") {
		code = rest
		if i := strings.Index(rest, "] "); i >= 0 {
			code = rest[:i+1]
		}
	}
	switch {
	case strings.HasPrefix(code, "[CAPABILITY "), strings.HasPrefix(code, "[MAILBOXID "):
		code = "" // Dovecot 2.3 has no OBJECTID
	case strings.HasPrefix(code, "[PERMANENTFLAGS"):
		code = sortList(code, "[PERMANENTFLAGS")
	default:
		code = n.objects(n.numbers(codeNumber, code))
	}
	if tag == "*" && kind == "OK" && (code == "" || !n.modseqs && strings.HasPrefix(code, "[HIGHESTMODSEQ ")) {
		return ""
	}
	if ownTag.MatchString(tag) {
		tag = "tag" // others are of the script
	}
	return strings.TrimSpace(tag + " " + kind + " " + code)
}

// fetch puts flags in order and makes dates UTC. Literals stay as they are.
func (n *normaliser) fetch(r string) string {
	head, tail := r, ""
	if i := strings.Index(r, "}\r\n"); i >= 0 { // no replacing in literals
		head, tail = r[:i], r[i:]
	}
	head = sortList(head, "FLAGS")
	head = n.numbers(fetchModseq, head)
	head = dateItem.ReplaceAllStringFunc(head, func(m string) string {
		g := dateItem.FindStringSubmatch(m)
		at, err := time.Parse("_2-Jan-2006 15:04:05 -0700", g[2])
		switch {
		case err != nil:
			return m
		case time.Since(at).Abs() < time.Hour:
			return g[1] + ` "now"`
		}
		return g[1] + ` "` + at.UTC().Format("_2-Jan-2006 15:04:05 -0700") + `"`
	})
	return n.objects(head) + tail
}

var dateItem = regexp.MustCompile(`(INTERNALDATE|SAVEDATE) "([^"]*)"`)

// sortList puts the words of the parenthesized list behind a name in order: flags have none.
func sortList(r, name string) string {
	i := strings.Index(r, name+" (")
	if i < 0 {
		return r
	}
	i += len(name) + 2
	j := strings.IndexByte(r[i:], ')')
	if j < 0 {
		return r
	}
	words := strings.Fields(r[i : i+j])
	slices.Sort(words)
	return r[:i] + strings.Join(words, " ") + r[i+j:]
}

// sortFirstList does so for the attributes of a LIST response. Whether there may be new
// messages is a hint, which Dovecot gives once it has an index.
func sortFirstList(r string) string {
	r = hintAttribute.ReplaceAllString(r, "$1")
	name, _, _ := strings.Cut(r, " (")
	return sortList(r, name)
}

var hintAttribute = regexp.MustCompile(`(?i)([( ])\\(?:Un)?marked\b`)

// sortRuns orders runs of LIST, LSUB and STATUS responses, whose order is free.
func sortRuns(rs []string) {
	free := func(r string) bool {
		return strings.HasPrefix(r, "* LIST ") || strings.HasPrefix(r, "* LSUB ") || strings.HasPrefix(r, "* STATUS ")
	}
	for i := 0; i < len(rs); i++ {
		j := i
		for j < len(rs) && free(rs[j]) {
			j++
		}
		slices.Sort(rs[i:j])
		i = max(i, j-1)
	}
}
