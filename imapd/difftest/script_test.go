package difftest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A script is commands to both servers over a fresh Maildir.
type script struct {
	name    string // file/title
	maildir string
	config  string
	steps   []*step
}

// A step is one line of a script.
type step struct {
	line    int    // in its file
	source  string // as written, with its block
	session string // "" for do
	verb    string // send, raw, wait, drop, do
	text    string
	block   string   // the lines behind it, with CRLF, for {}
	reason  string   // of an expected difference
	holds   []string // what our answer must hold
}

var (
	sendLine = regexp.MustCompile(`^([A-Z]): (.*)$`)
	verbLine = regexp.MustCompile(`^([A-Z]) (wait|drop|raw)(?: (.*))?$`)
)

// parseScripts reads a file of scripts.
func parseScripts(file, text string) ([]*script, error) {
	var all []*script
	var cur *script
	file = strings.TrimSuffix(filepath.Base(file), ".txt")
	head := script{maildir: "mixed"}
	reason := ""
	for i, line := range strings.Split(text, "\n") {
		fail := func(why string) ([]*script, error) {
			return nil, fmt.Errorf("%s line %d: %s: %q", file, i+1, why, line)
		}
		if title, ok := strings.CutPrefix(line, "=== "); ok {
			c := head
			c.name = file + "/" + strings.TrimSpace(title)
			cur = &c
			all = append(all, cur)
			continue
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		where := cur
		if cur == nil {
			where = &head
		}
		if v, ok := strings.CutPrefix(line, "maildir: "); ok {
			where.maildir = strings.TrimSpace(v)
			continue
		}
		if v, ok := strings.CutPrefix(line, "config: "); ok {
			where.config = strings.TrimSpace(v)
			continue
		}
		if cur == nil {
			return fail("no === before")
		}
		var last *step
		if n := len(cur.steps); n > 0 {
			last = cur.steps[n-1]
		}
		st := &step{line: i + 1, source: line, reason: reason}
		switch {
		case strings.HasPrefix(line, "! "):
			reason = strings.TrimSpace(line[2:])
			continue
		case strings.HasPrefix(line, "|") && last != nil:
			last.block += strings.TrimPrefix(strings.TrimPrefix(line, "|"), " ") + "\r\n"
			last.source += "\n" + line
			continue
		case strings.HasPrefix(line, "= ") && last != nil:
			last.holds = append(last.holds, line[2:])
			continue
		case strings.HasPrefix(line, "do: "):
			st.verb, st.text = "do", line[4:]
		default:
			if m := sendLine.FindStringSubmatch(line); m != nil {
				st.session, st.verb, st.text = m[1], "send", m[2]
			} else if m := verbLine.FindStringSubmatch(line); m != nil {
				st.session, st.verb, st.text = m[1], m[2], m[3]
			} else {
				return fail("not understood")
			}
		}
		reason = ""
		cur.steps = append(cur.steps, st)
	}
	return all, nil
}

// A piece is what is sent before the server must ask for more.
type piece []byte

var literalMark = regexp.MustCompile(`\{(\+?)(?:\}|@([a-zA-Z0-9._-]+)\}|("(?:[^"\\]|\\.)*")\})`)

// pieces makes the bytes of a command line, CRLF included.
func (st *step) pieces(text string) ([]piece, error) {
	var out []piece
	var cur []byte
	for {
		m := literalMark.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		group := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return text[m[2*n]:m[2*n+1]]
		}
		var lit string
		switch file, quoted := group(2), group(3); {
		case file != "":
			b, err := readMail(file)
			if err != nil {
				return nil, err
			}
			lit = string(b)
		case quoted != "":
			s, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", st.line, quoted, err)
			}
			lit = s
		default:
			lit = st.block
		}
		cur = append(cur, text[:m[0]]...)
		cur = fmt.Appendf(cur, "{%d%s}\r\n", len(lit), group(1))
		if group(1) == "" {
			out = append(out, cur)
			cur = nil
		}
		cur = append(cur, lit...)
		text = text[m[1]:]
	}
	cur = append(cur, text...)
	return append(out, append(cur, "\r\n"...)), nil
}

// readMail reads a file of testdata/mail with CRLF lines.
func readMail(name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join("testdata/mail", name))
	if err != nil {
		return nil, err
	}
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	return []byte(strings.ReplaceAll(s, "\n", "\r\n")), nil
}

// allScripts reads testdata/scripts.
func allScripts(t testing.TB) []*script {
	t.Helper()
	paths, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all []*script
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseScripts(p, string(b))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s...)
	}
	return all
}

// String is the script as it would stand in a file.
func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "=== %s\nmaildir: %s\n", s.name, s.maildir)
	if s.config != "" {
		fmt.Fprintf(&b, "config: %s\n", s.config)
	}
	for _, st := range s.steps {
		if st.reason != "" {
			fmt.Fprintf(&b, "! %s\n", st.reason)
		}
		b.WriteString(st.source + "\n")
	}
	return b.String()
}
