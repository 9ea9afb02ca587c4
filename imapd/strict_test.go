package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A strictReader reads responses as a client does that forgives nothing (RFC 9051 section 9):
// line ends, literals, strings, parentheses and single spaces, and the numbers of messages
// that a client counts.
type strictReader struct {
	r *bufio.Reader
	// utf8 allows 8-bit in quoted strings, and mailbox names in UTF-8.
	utf8 bool
	// vanishing says that expunges may come by UID, so that nothing can be counted.
	vanishing bool
	messages  int // of the selected mailbox; negative where that is not known
}

// A response is one response of the server.
type response struct {
	tag  string // "*", "+" or a command's tag
	name string // OK, NO, BAD, BYE or what is told: FETCH, LIST, ...
	text string // all of it, with the octets of literals
	code string // of a status response
}

var (
	statusLine = regexp.MustCompile(`^(OK|NO|BAD|BYE|PREAUTH) (?:\[([^\]]*)\] )?([\x20-\x7e\x80-\xff]+)$`)
	codeName   = regexp.MustCompile(`^[A-Z][A-Z0-9-]*( |$)`)
	numbered   = regexp.MustCompile(`^(\d+) (EXISTS|RECENT|EXPUNGE|FETCH)( |$)`)
)

// next reads one response; the error is io.EOF between two, and says else what is wrong.
func (s *strictReader) next() (*response, error) {
	line, err := s.line()
	if err != nil {
		return nil, err
	}
	tag, rest, ok := strings.Cut(line, " ")
	if !ok || tag == "" {
		return nil, fmt.Errorf("no tag in %q", line)
	}
	p := &response{tag: tag, text: line}
	if tag == "+" {
		return p, text(rest)
	}
	if m := statusLine.FindStringSubmatch(rest); m != nil {
		p.name, p.code = m[1], m[2]
		if p.code == "CLOSED" {
			s.messages = -1
		}
		if strings.HasPrefix(rest[len(p.name)+1:], "[") && p.code == "" {
			return nil, fmt.Errorf("bad response code in %q", line)
		}
		return p, s.checkCode(p.code)
	}
	if tag != "*" {
		return nil, fmt.Errorf("tagged response that is no status: %q", line)
	}
	return p, s.data(p, rest)
}

// line reads a line that ends in CRLF.
func (s *strictReader) line() (string, error) {
	b, err := s.r.ReadBytes('\n')
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			return "", fmt.Errorf("half a line: %q", b)
		}
		return "", err
	}
	line, ok := bytes.CutSuffix(b, []byte("\r\n"))
	if !ok {
		return "", fmt.Errorf("bare LF: %q", b)
	}
	if bytes.ContainsAny(line, "\r\x00") {
		return "", fmt.Errorf("bare CR or NUL: %q", b)
	}
	return string(line), nil
}

func text(t string) error {
	for _, c := range []byte(t) {
		if c < 0x20 || c == 0x7f {
			return fmt.Errorf("control character in text %q", t)
		}
	}
	return nil
}

// checkCode checks what stands within brackets.
func (s *strictReader) checkCode(code string) error {
	if code == "" {
		return nil
	}
	if !codeName.MatchString(code) {
		return fmt.Errorf("bad response code %q", code)
	}
	name, rest, ok := strings.Cut(code, " ")
	if !ok || name == "BADURL" {
		return text(rest)
	}
	v := values{strictReader: s, line: rest}
	if err := v.sequence(false); err != nil {
		return fmt.Errorf("response code %q: %w", code, err)
	}
	return nil
}

// data checks a response that is no status response.
func (s *strictReader) data(p *response, rest string) error {
	number := 0
	if m := numbered.FindStringSubmatch(rest); m != nil {
		number, _ = strconv.Atoi(m[1])
		rest = rest[len(m[1])+1:]
	}
	name, args, some := strings.Cut(rest, " ")
	p.name = name
	v := values{strictReader: s, line: args, response: p}
	if some {
		if err := v.sequence(name == "SEARCH" || name == "THREAD" || name == "SORT"); err != nil {
			return fmt.Errorf("%q: %w", p.text, err)
		}
	}
	if err := s.shape(p, v.top, number); err != nil {
		return fmt.Errorf("%q: %w", p.text, err)
	}
	return nil
}

// shape checks the arguments of the responses that there are.
func (s *strictReader) shape(p *response, args []value, number int) error {
	kinds := ""
	for _, a := range args {
		kinds += string(a.kind)
	}
	want, known := map[string]string{
		"EXISTS": "", "RECENT": "", "EXPUNGE": "", "CAPABILITY": "a+", "ENABLED": "a*", "FLAGS": "l", "FETCH": "l",
		"LIST": "l[qn][aqtn]l?", "LSUB": "l[qn][aqt]", "STATUS": "[aqt]l", "SEARCH": "a*l?", "SORT": "a*l?", "THREAD": "l*",
		"ESEARCH": "l([a]|l|n)*", "VANISHED": "l?a", "NAMESPACE": "[ln]{3}", "ID": "[ln]", "QUOTA": "[aqt]l", "QUOTAROOT": "[aqt]+",
		"METADATA": "[aqt]l",
	}[p.name]
	if !known {
		return fmt.Errorf("unknown response %q", p.name)
	}
	if !regexp.MustCompile("^(?:" + want + ")$").MatchString(kinds) {
		return fmt.Errorf("arguments %q, want %q", kinds, want)
	}
	switch p.name {
	case "FETCH", "STATUS", "METADATA", "ID":
		if last := args[len(args)-1]; last.kind == 'l' && len(last.list)%2 != 0 && p.name != "METADATA" {
			return fmt.Errorf("a name without a value")
		}
	}
	return s.count(p, number)
}

// count keeps the number of messages as a client does.
func (s *strictReader) count(p *response, number int) error {
	switch p.name {
	case "ENABLED":
		s.vanishing = s.vanishing || strings.Contains(p.text, "QRESYNC")
		s.utf8 = s.utf8 || strings.Contains(p.text, "UTF8=ACCEPT") || strings.Contains(p.text, "IMAP4rev2")
	case "EXISTS":
		if number < s.messages && !s.vanishing {
			return fmt.Errorf("EXISTS with %d messages", s.messages)
		}
		s.messages = number
	case "EXPUNGE":
		if s.messages >= 0 && !s.vanishing && (number < 1 || number > s.messages) {
			return fmt.Errorf("EXPUNGE with %d messages", s.messages)
		}
		s.messages--
	case "FETCH":
		if s.messages >= 0 && !s.vanishing && (number < 1 || number > s.messages) {
			return fmt.Errorf("FETCH with %d messages", s.messages)
		}
	}
	return nil
}

// A value is an atom (a), quoted string (q), literal (t), NIL (n) or list (l).
type value struct {
	kind rune
	text string
	list []value
}

// values reads values separated by single spaces; lists may stand side by side.
type values struct {
	*strictReader
	line     string // what is left
	response *response
	top      []value
}

func (v *values) sequence(mayBeEmpty bool) error {
	if v.line == "" && mayBeEmpty {
		return nil
	}
	list, err := v.until(0)
	if err == nil && v.line != "" {
		err = fmt.Errorf("unexpected %q", v.line)
	}
	v.top = list
	return err
}

// until reads up to a closing parenthesis, or to the end at depth 0.
func (v *values) until(depth int) (list []value, err error) {
	if depth > 1000 {
		return nil, fmt.Errorf("too deep")
	}
	if depth > 0 && strings.HasPrefix(v.line, ")") {
		v.line = v.line[1:]
		return nil, nil
	}
	for {
		one, err := v.one(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
		switch {
		case v.line == "" && depth == 0:
			return list, nil
		case v.line == "":
			return nil, fmt.Errorf("parenthesis is not closed")
		case v.line[0] == ')' && depth > 0:
			v.line = v.line[1:]
			return list, nil
		case v.line[0] == ' ':
			v.line = v.line[1:]
		case v.line[0] == '(' && one.kind == 'l':
		default:
			return nil, fmt.Errorf("expected a space before %q", v.line)
		}
	}
}

// one reads one value.
func (v *values) one(depth int) (value, error) {
	switch {
	case v.line == "":
		return value{}, fmt.Errorf("expected a value")
	case v.line[0] == '(':
		v.line = v.line[1:]
		list, err := v.until(depth + 1)
		return value{kind: 'l', list: list}, err
	case v.line[0] == '"':
		return v.quoted()
	case v.line[0] == '{', strings.HasPrefix(v.line, "~{"):
		return v.literal()
	}
	return v.atom()
}

func (v *values) quoted() (value, error) {
	var out []byte
	for i := 1; i < len(v.line); i++ {
		switch c := v.line[i]; {
		case c == '"':
			v.line = v.line[i+1:]
			if high := slices.ContainsFunc(out, func(c byte) bool { return c >= 0x80 }); high && (!v.utf8 || !utf8.Valid(out)) {
				return value{}, fmt.Errorf("8-bit in a quoted string")
			}
			return value{kind: 'q', text: string(out)}, nil
		case c == '\\':
			if i++; i == len(v.line) || v.line[i] != '"' && v.line[i] != '\\' {
				return value{}, fmt.Errorf("bad escape")
			}
			out = append(out, v.line[i])
		default:
			out = append(out, c)
		}
	}
	return value{}, fmt.Errorf("quoted string is not closed")
}

func (v *values) literal() (value, error) {
	digits, binary := strings.CutPrefix(v.line, "~")
	size, err := strconv.ParseUint(strings.TrimSuffix(digits[1:], "}"), 10, 31)
	if err != nil || !strings.HasSuffix(digits, "}") {
		return value{}, fmt.Errorf("bad literal %q", v.line)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(v.r, b); err != nil {
		return value{}, fmt.Errorf("literal of %d octets: %w", size, err)
	}
	if !binary && bytes.IndexByte(b, 0) >= 0 {
		return value{}, fmt.Errorf("NUL in a literal")
	}
	line, err := v.strictReader.line()
	if err != nil {
		return value{}, fmt.Errorf("behind a literal: %w", err)
	}
	if v.response != nil {
		v.response.text += "\r\n" + string(b) + line
	}
	v.line = line
	return value{kind: 't', text: string(b)}, nil
}

// atom reads an atom, of which a section in brackets may be a part.
func (v *values) atom() (value, error) {
	i, depth := 0, 0
	for ; i < len(v.line); i++ {
		c := v.line[i]
		switch {
		case c == '[' && (v.line[:i] == "BODY" || v.line[:i] == "BINARY" || v.line[:i] == "BINARY.SIZE"):
			depth = 1
		case c == ']' && depth > 0:
			depth = 0
		case depth > 0 && c >= 0x20 && c < 0x7f:
			continue
		case c >= 0x80 && !v.utf8, c < 0x20, c == 0x7f:
			return value{}, fmt.Errorf("octet %#x in an atom", c)
		case c == ' ', c == '(', c == ')':
			goto end
		case c == '\\' && i == 0:
		case c == '*' && (i == 0 || v.line[:i] == `\`):
		case strings.IndexByte(`{%*"\`, c) >= 0:
			return value{}, fmt.Errorf("character %q in an atom", c)
		}
	}
end:
	if i == 0 || depth > 0 {
		return value{}, fmt.Errorf("expected an atom at %q", v.line)
	}
	a := v.line[:i]
	v.line = v.line[i:]
	if a == "NIL" {
		return value{kind: 'n'}, nil
	}
	return value{kind: 'a', text: a}, nil
}
