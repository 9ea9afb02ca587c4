package thread

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// mail is a message with what Add wants beside.
type mail struct {
	Message
	id   string
	refs []string
}

// parse reads "date id <refs subject", one message a line; "-" is nothing, and a subject
// that begins with "re:" is a reply's.
func parse(text string) []mail {
	var out []mail
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		m := mail{Message: Message{Number: uint32(len(out) + 1)}}
		m.Date, _ = strconv.ParseInt(f[0], 10, 64)
		if f[1] != "-" {
			m.id = f[1]
		}
		if f[2] != "-" {
			m.refs = strings.Split(f[2], ",")
		}
		if f[3] != "-" {
			m.Subject, m.Reply = strings.CutPrefix(f[3], "re:")
		}
		out = append(out, m)
	}
	return out
}

// references adds messages.
func references(mails []mail) *References {
	r := NewReferences()
	for _, m := range mails {
		r.Add(m.Message, m.id, m.refs)
	}
	return r
}

func TestReferences(t *testing.T) {
	for _, tt := range []struct{ name, in, want, refs string }{
		{"one", "1 a - x", "(1)", "(1)"},
		{"chain", "1 a - x\n2 b a re:x\n3 c a,b re:x", "(1 2 3)", "(1 2 3)"},
		{"branches", "1 a - x\n2 b a re:x\n3 c a re:x\n4 d a,b re:x", "(1 (2 4)(3))", "(1 (2 4)(3))"},
		{"siblings by date", "1 a - x\n9 b a re:x\n3 c a re:x", "(1 (3)(2))", "(1 (3)(2))"},
		{"answer first", "5 b a re:x\n1 a - x", "(2 1)", "(2 1)"},
		{"dummy in between", "1 a - x\n2 c a,b re:x", "(1 2)", "(1 2)"},
		{"dummy on top, one child", "2 c a re:x", "(1)", "(1)"},
		{"dummy on top", "3 c a re:x\n2 d a re:x", "((2)(1))", "((2)(1))"},
		{"own reference", "1 a a x", "(1)", "(1)"},
		{"loop", "1 a b x\n2 b a y", "(2 1)", "(2 1)"},
		{"same identifier", "1 a - x\n2 a - y\n3 b a re:x", "(1 3)(2)", "(2)(1 3)"},
		{"no identifier", "1 - - x\n2 - - y", "(1)(2)", "(1)(2)"},
		{"truncated references give way", "1 a - x\n2 c a,b re:x\n3 b a re:x\n4 d z,c re:x", "(1 3 2 4)", "(1 3 2 4)"},
		{"parent given up", "1 b a re:x\n2 d a,c re:y\n3 c - z", "(1)(3 2)", "(1)(3 2)"},
		{"subjects: replies under the original", "2 a - re:x\n1 b - x\n3 c - re:x", "(2 (1)(3))", "(2)(1)(3)"},
		{"subjects: two originals", "1 a - x\n2 b - x", "((1)(2))", "(1)(2)"},
		{"subjects: two originals and a reply", "1 a - x\n2 b - x\n3 c - re:x", "((1)(2)(3))", "(1)(2)(3)"},
		{"subjects: a dummy and a message", "1 a z re:x\n2 b z re:x\n3 c - x", "((1)(2)(3))", "((1)(2))(3)"},
		{"subjects: two dummies", "1 a y re:x\n2 b y re:x\n0 c z re:x\n4 d z re:x", "((3)(1)(2)(4))", "((1)(2))((3)(4))"},
		{"no subject", "1 a - -\n2 b - -", "(1)(2)", "(1)(2)"},
		{"threads by newest", "1 a - x\n2 b - y\n9 c a re:x", "(1 3)(2)", "(2)(1 3)"},
	} {
		mails := parse(tt.in)
		if got := string(references(mails).Threads().Append(nil)); got != tt.want {
			t.Errorf("%s: REFERENCES %s, want %s", tt.name, got, tt.want)
		}
		if got := string(references(mails).ThreadsByNewest().Append(nil)); got != tt.refs {
			t.Errorf("%s: REFS %s, want %s", tt.name, got, tt.refs)
		}
	}
}

func TestOrderedSubject(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"1 - - x", "(1)"},
		{"2 - - x\n1 - - re:x", "(2 1)"},
		{"3 - - x\n1 - - re:x\n2 - - x\n0 - - y", "(4)(2 (3)(1))"},
		{"1 - - x\n1 - - y\n2 - - -\n3 - - -", "(1)(2)(3 4)"},
	} {
		var list []Message
		for _, m := range parse(tt.in) {
			list = append(list, m.Message)
		}
		if got := string(OrderedSubject(list).Append(nil)); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
	if got := OrderedSubject(nil).Append(nil); len(got) > 0 {
		t.Errorf("of no messages: %s", got)
	}
}

// drawMails makes messages with few identifiers, subjects and dates, so that they clash.
func drawMails(t *rapid.T) []mail {
	id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
	mails := make([]mail, rapid.IntRange(0, 14).Draw(t, "messages"))
	for i := range mails {
		m := &mails[i]
		m.Number = uint32(i + 1)
		m.Date = rapid.Int64Range(0, 5).Draw(t, "date")
		if rapid.IntRange(0, 5).Draw(t, "has id") > 0 {
			m.id = id.Draw(t, "id")
		}
		m.refs = rapid.SliceOfN(id, 0, 4).Draw(t, "refs")
		m.Subject = rapid.SampledFrom([]string{"", "x", "y", "z", "v", "w"}).Draw(t, "subject")
		m.Reply = rapid.Bool().Draw(t, "reply")
	}
	return mails
}

// TestLiteral compares with the steps of the RFC as they are written.
func TestLiteral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mails := drawMails(t)
		got, want := string(references(mails).Threads().Append(nil)), literal(mails)
		if got != want {
			t.Fatalf("%s\nwant %s\nof %+v", got, want, mails)
		}
		checkAll(t, got, len(mails))
		checkAll(t, string(references(mails).ThreadsByNewest().Append(nil)), len(mails))
		var list []Message
		for _, m := range mails {
			list = append(list, m.Message)
		}
		checkAll(t, string(OrderedSubject(list).Append(nil)), len(mails))
	})
}

// checkAll checks that a thread-list has each number once and pairs its parentheses.
func checkAll(t rapid.TB, list string, n int) {
	t.Helper()
	depth := 0
	for _, c := range list {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth < 0 || depth == 0 && c != ')' {
			t.Fatalf("parentheses: %s", list)
		}
	}
	seen := map[string]bool{}
	for _, number := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune("() ", r) }) {
		if seen[number] {
			t.Fatalf("%s twice: %s", number, list)
		}
		seen[number] = true
	}
	if depth != 0 || len(seen) != n || strings.Contains(list, "()") || strings.Contains(list, " )") {
		t.Fatalf("%d messages of %d: %s", len(seen), n, list)
	}
}

// TestHostile threads mail that makes simple algorithms slow or deep.
func TestHostile(t *testing.T) {
	const n = 50_000
	name := func(i int) string { return "id" + strconv.Itoa(i) }
	for _, tt := range []struct {
		name string
		refs func(i int) []string
	}{
		{"one chain backwards", func(i int) []string { return []string{name(i + 1)} }},
		{"one chain", func(i int) []string { return []string{name(i - 1)} }},
		{"a ring from both sides", func(i int) []string { return []string{name((i + 1) % n), name((i + n - 1) % n)} }},
		{"leaf and root in turns", func(i int) []string { return []string{name(i - 1), name(0), name(i - 1), name(0)} }},
		{"all to one", func(int) []string { return []string{"x"} }},
	} {
		r := NewReferences()
		for i := range n {
			r.Add(Message{Number: uint32(i + 1), Date: int64(i), Subject: "s"}, name(i), tt.refs(i))
		}
		checkAll(t, string(r.Threads().Append(nil)), n)
	}
	r := NewReferences()
	many := make([]string, 100_000)
	for i := range many {
		many[i] = name(i)
	}
	for i := range 20 {
		r.Add(Message{Number: uint32(i + 1)}, fmt.Sprint("m", i), many)
	}
	if len(r.nodes) > 20+maxReferences {
		t.Errorf("%d nodes for 20 messages", len(r.nodes))
	}
	checkAll(t, string(r.Threads().Append(nil)), 20)
}

// FuzzThreads takes each three octets for a message: identifier, reference, and what
// else there is.
func FuzzThreads(f *testing.F) {
	f.Add([]byte("a  b  ca d ab"))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var mails []mail
		for ; len(in) >= 3 && len(mails) < 1000; in = in[3:] {
			m := mail{Message: Message{Number: uint32(len(mails) + 1), Date: int64(in[2] & 3)}, id: string(in[:1])}
			m.Subject, m.Reply = string(in[2:3]), in[2]&4 != 0
			m.refs = []string{string(in[1:2]), string(in[2:3])}[:in[2]>>3&1+1]
			mails = append(mails, m)
		}
		checkAll(t, string(references(mails).Threads().Append(nil)), len(mails))
		checkAll(t, string(references(mails).ThreadsByNewest().Append(nil)), len(mails))
	})
}

func BenchmarkReferences(b *testing.B) {
	const n = 10_000
	mails := make([]mail, n)
	for i := range mails {
		m := &mails[i]
		m.Message = Message{Number: uint32(i + 1), Date: int64(i), Subject: "subject " + strconv.Itoa(i%2000), Reply: i >= 2000}
		m.id = fmt.Sprintf("%d.something.of.usual.length@mail.example.org", i)
		for k := i - 2000; k >= 0; k -= 2000 {
			m.refs = append([]string{mails[k].id}, m.refs...)
		}
	}
	for b.Loop() {
		references(mails).Threads()
	}
}
