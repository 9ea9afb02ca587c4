package imapwire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// decode returns a Decoder that stands after its first line; continuation requests
// are counted.
func decode(t *testing.T, in string, l Limits) (*Decoder, *int) {
	t.Helper()
	d := NewDecoder(iotest.OneByteReader(strings.NewReader(in)), l)
	asked := new(int)
	d.Continue = func() error { *asked++; return nil }
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	return d, asked
}

func isSyntax(err error) bool {
	var s *SyntaxError
	return errors.As(err, &s)
}

func TestAString(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		asked    int
		ok       bool
	}{
		{"atom", "atom", 0, true},
		{"a]b", "a]b", 0, true},
		{"~x", "~x", 0, true},
		{`"quo\"te\\d"`, `quo"te\d`, 0, true},
		{`""`, "", 0, true},
		{`"` + strings.Repeat("x", 200) + `"`, strings.Repeat("x", 200), 0, true},
		{`"bad \escape"`, "", 0, false},
		{`"no end`, "", 0, false},
		{"\"\x00\"", "", 0, false},
		{"{3}\r\na\r\n", "a\r\n", 1, true},
		{"{3+}\r\nabc", "abc", 0, true},
		{"{0}\r\n", "", 1, true},
		{"{3+}\r\na\x00c", "", 0, false},
		{"~{3+}\r\na\x00c", "a\x00c", 0, true},
		{"{3}x", "", 0, false},
		{"{}", "", 0, false},
		{"{+}", "", 0, false},
		{"{-1}", "", 0, false},
		{"{1x}", "", 0, false},
		{"{99}", "", 0, false}, // above the limit: not asked for
		{"{99999999999999999999}", "", 0, false},
		{"(", "", 0, false},
		{"", "", 0, false},
	} {
		d, asked := decode(t, tt.in+"\r\n", Limits{Literals: 50})
		got, err := d.AString()
		if tt.ok != (err == nil) || string(got) != tt.want || *asked != tt.asked {
			t.Errorf("AString(%q) = %q, %v, asked %d; want %q, %d", tt.in, got, err, *asked, tt.want, tt.asked)
		}
		if err != nil && !isSyntax(err) {
			t.Errorf("AString(%q): %T", tt.in, err)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		fatal    bool
	}{
		{"nothing", "a x\r\n", false},
		{"asked for", "a x {5}\r\n", false},
		{"unasked", "a x {6+}\r\nq no\r\n\r\n", false},
		{"two", "a x {2+}\r\n\r\n y {3+}\r\nabc z\r\n", false},
		{"too large", "a x {999+}\r\n", true},
		{"together too large", "a x {60+}\r\n" + strings.Repeat("x", 60) + "{60+}\r\n", true},
		{"no number", "a x {y+}\r\n", true},
		{"no brace", "a x 5+}\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := decode(t, tt.in+"q yes\r\n", Limits{Drain: 100})
			err := d.Skip()
			var fatal *FatalError
			if errors.As(err, &fatal) != tt.fatal {
				t.Fatalf("Skip: %v", err)
			}
			if tt.fatal {
				if d.Err() == nil {
					t.Error("the error does not stick")
				}
				return
			}
			if err := d.Next(); err != nil {
				t.Fatal(err)
			}
			if w, _ := d.Tag(); w != "q" {
				t.Fatalf("tag %q", w)
			}
			d.SP()
			if w, _ := d.Atom(); w != "yes" {
				t.Errorf("the literal was taken for a command: %q", w)
			}
		})
	}
}

func TestStreamedLiteral(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	d, asked := decode(t, "{10000}\r\n"+body+" next\r\nq\r\n", Limits{})
	l, err := d.Literal()
	if err != nil {
		t.Fatal(err)
	}
	if *asked != 0 {
		t.Error("asked before Accept")
	}
	if err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(l)
	if err != nil || string(got) != body {
		t.Fatalf("read %d octets, %v", len(got), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d.SP()
	if w, err := d.Atom(); w != "next" {
		t.Errorf("after the literal: %q, %v", w, err)
	}

	// A literal that was begun and given up is skipped.
	d, _ = decode(t, "{10000}\r\n"+body+" next\r\nq\r\n", Limits{})
	l, _ = d.Literal()
	l.Accept()
	io.CopyN(io.Discard, l, 17)
	if err := d.Skip(); err != nil {
		t.Fatal(err)
	}
	d.Next()
	if w, _ := d.Tag(); w != "q" {
		t.Errorf("tag %q", w)
	}

	d, _ = decode(t, "{10000}\r\nshort", Limits{})
	l, _ = d.Literal()
	l.Accept()
	if _, err := io.ReadAll(l); err != io.ErrUnexpectedEOF || d.Err() != io.ErrUnexpectedEOF {
		t.Errorf("cut literal: %v, %v", err, d.Err())
	}
}

func TestLineLimit(t *testing.T) {
	d := NewDecoder(strings.NewReader(strings.Repeat("x", 1000)+"\r\n"), Limits{Line: 999})
	var fatal *FatalError
	if err := d.Next(); !errors.As(err, &fatal) {
		t.Errorf("long line: %v", err)
	}
	d = NewDecoder(strings.NewReader(strings.Repeat("x", 999)+"\r\n"), Limits{Line: 999})
	if err := d.Next(); err != nil {
		t.Errorf("line at the limit: %v", err)
	}
	// Lines around literals count together.
	d = NewDecoder(strings.NewReader(strings.Repeat("x {0+}\r\n", 300)), Limits{Line: 999})
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if err := d.Skip(); !errors.As(err, &fatal) {
		t.Errorf("many lines: %v", err)
	}
	if err := NewDecoder(strings.NewReader(""), Limits{}).Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := NewDecoder(strings.NewReader("abc"), Limits{}).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("cut line: %v", err)
	}
}

func TestReset(t *testing.T) {
	d := NewDecoder(strings.NewReader("a STARTTLS\r\nb NOOP\r\n"), Limits{})
	d.Next()
	if d.Buffered() == 0 {
		t.Fatal("nothing read ahead")
	}
	d.Reset(strings.NewReader("c NOOP\r\n"))
	d.Next()
	if w, _ := d.Tag(); w != "c" {
		t.Errorf("after Reset: %q", w)
	}
}

func TestWipe(t *testing.T) {
	d := NewDecoder(strings.NewReader("a LOGIN user sesame\r\n"), Limits{})
	d.Next()
	d.Wipe()
	if bytes.Contains(d.buffer(), []byte("sesame")) || bytes.Contains(d.line[:cap(d.line)], []byte("sesame")) {
		t.Error("the password is still there")
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		in    string
		read  func(*Decoder) (any, error)
		want  any
		valid bool
	}{
		{"0", func(d *Decoder) (any, error) { return d.Number() }, uint32(0), true},
		{"4294967295", func(d *Decoder) (any, error) { return d.Number() }, uint32(4294967295), true},
		{"4294967296", func(d *Decoder) (any, error) { return d.Number() }, nil, false},
		{"+1", func(d *Decoder) (any, error) { return d.Number() }, nil, false},
		{"", func(d *Decoder) (any, error) { return d.Number() }, nil, false},
		{"0", func(d *Decoder) (any, error) { return d.NZNumber() }, nil, false},
		{"01", func(d *Decoder) (any, error) { return d.NZNumber() }, nil, false},
		{"9223372036854775807", func(d *Decoder) (any, error) { return d.Number64() }, int64(9223372036854775807), true},
		{"9223372036854775808", func(d *Decoder) (any, error) { return d.Number64() }, nil, false},
	} {
		d, _ := decode(t, tt.in+"\r\n", Limits{})
		got, err := tt.read(d)
		if tt.valid != (err == nil) || tt.valid && got != tt.want {
			t.Errorf("%q = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		in   string
		last uint32
		want []Range
		ok   bool
	}{
		{"1", 9, []Range{{1, 1}}, true},
		{"5:2,7", 9, []Range{{2, 5}, {7, 7}}, true},
		{"1:3,2:4,5", 9, []Range{{1, 5}}, true},
		{"*", 9, []Range{{9, 9}}, true},
		{"*:4", 9, []Range{{4, 9}}, true},
		{"20:*", 9, []Range{{9, 20}}, true},
		{"4294967295,1", 9, []Range{{1, 1}, {4294967295, 4294967295}}, true},
		{"1:4294967295,5", 9, []Range{{1, 4294967295}}, true},
		{"1:*", 0, nil, true},
		{"0", 9, nil, false},
		{"1:", 9, nil, false},
		{",1", 9, nil, false},
		{"1,", 9, nil, false},
		{"4294967296", 9, nil, false},
		{"18446744073709551617", 9, nil, false},
	} {
		d, _ := decode(t, tt.in+"\r\n", Limits{})
		s, err := d.Set()
		if tt.ok != (err == nil) || tt.ok && !slices.Equal(s.Resolve(tt.last), tt.want) {
			t.Errorf("%q of %d = %v, %v; want %v", tt.in, tt.last, s.Resolve(tt.last), err, tt.want)
		}
	}
	d, _ := decode(t, "$\r\n", Limits{})
	if s, err := d.Set(); err != nil || !s.Saved {
		t.Errorf("$ = %+v, %v", s, err)
	}
	if got := string(AppendSet(nil, []uint32{1, 2, 3, 5, 7, 8, 4})); got != "1:3,5,7:8,4" {
		t.Errorf("AppendSet: %s", got)
	}
}

func TestDates(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{`" 1-Feb-1994 21:52:25 -0800"`, true},
		{`"01-Feb-1994 21:52:25 +0000"`, true},
		{`"1-Feb-1994 21:52:25 -0800"`, false},
		{`"31-Feb-1994 21:52:25 -0800"`, false},
		{`" 1-Feb-1994 25:52:25 -0800"`, false},
		{`" 1-Feb-1994 21:52:25 -0899"`, false},
		{`" 1-Feb-1994 21:52:25"`, false},
		{` 1-Feb-1994`, false},
	} {
		d, _ := decode(t, tt.in+"\r\n", Limits{})
		if _, err := d.DateTime(); tt.ok != (err == nil) {
			t.Errorf("DateTime(%s): %v", tt.in, err)
		}
	}
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"1-Feb-1994", true}, {`"1-Feb-1994"`, true}, {"01-feb-1994", true},
		{"1-Foo-1994", false}, {"1-Feb-94", false}, {"30-Feb-1994", false}, {"", false},
	} {
		d, _ := decode(t, tt.in+"\r\n", Limits{})
		got, err := d.Date()
		if tt.ok != (err == nil) || tt.ok && !got.Equal(time.Date(1994, 2, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("Date(%s) = %v, %v", tt.in, got, err)
		}
	}
}

func TestListDepth(t *testing.T) {
	d, _ := decode(t, strings.Repeat("(", 100)+"\r\n", Limits{})
	var nested func() error
	depth := 0
	nested = func() error { depth++; return d.List(nested) }
	if err := nested(); !isSyntax(err) || depth > 60 {
		t.Errorf("depth %d: %v", depth, err)
	}
}

// FuzzCommand reads commands with every kind of token: no panic, errors of the three
// kinds only, and memory in bounds.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"a LOGIN alice {6+}\r\nsecret\r\n",
		"a APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0100\" {3}\r\nabc\r\n",
		"a UID FETCH 1:*,3 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (a b)]<0.10>)\r\n",
		"a SEARCH CHARSET UTF-8 OR (SINCE 1-Feb-1994 NOT SMALLER 5) TEXT \"x\\\"y\"\r\n",
		"a LIST (SUBSCRIBED) \"\" (\"*\" %) RETURN (STATUS (MESSAGES))\r\n",
		"a ID (\"name\" NIL)\r\nb STORE $ +FLAGS (\\Deleted k)\r\n",
		"a X ~{3+}\r\na\x00b {99999999999+}\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(bytes.NewReader(in), Limits{Line: 4096, Literals: 4096, Drain: 4096})
		d.Continue = func() error { return nil }
		for range 20 {
			if d.Next() != nil {
				break
			}
			err := tokens(d)
			var fatal *FatalError
			if err != nil && !isSyntax(err) && !errors.As(err, &fatal) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("untyped error %T: %v", err, err)
			}
			if d.held > 4096 || len(d.line) > 4098 {
				t.Fatalf("holds %d and %d octets", d.held, len(d.line))
			}
			if d.Skip() != nil {
				break
			}
		}
	})
}

// tokens reads whatever comes.
func tokens(d *Decoder) error {
	if _, err := d.Tag(); err != nil {
		return err
	}
	var one func() error
	one = func() error {
		switch c := d.Peek(); {
		case c == '(':
			return d.List(one)
		case c == '\\':
			_, err := d.Flag()
			return err
		case c == '*' || c == '$':
			_, err := d.Set()
			return err
		case c == '"' && d.pos%2 == 0:
			if _, err := d.DateTime(); err == nil {
				return nil
			}
			_, err := d.Date()
			return err
		case c >= '0' && c <= '9':
			_, err := d.Number64()
			return err
		case c == '~' || c == '{':
			if d.pos%2 == 1 {
				l, err := d.Literal()
				if err == nil {
					err = l.Accept()
				}
				return err
			}
		}
		if d.pos%3 == 0 {
			_, err := d.ListMailbox()
			return err
		}
		_, err := d.AString()
		return err
	}
	for !d.AtEnd() {
		if err := d.SP(); err != nil {
			return err
		}
		if err := one(); err != nil {
			return err
		}
	}
	return nil
}

// FuzzSet checks that a set that parses names what it says.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"1", "*", "$", "1:*", "5:2,7,7:9", "4294967295:1,2", "0", "1,"} {
		f.Add(s, uint32(10))
	}
	f.Fuzz(func(t *testing.T, in string, last uint32) {
		d := NewDecoder(strings.NewReader(in+"\r\n"), Limits{})
		if d.Next() != nil {
			return
		}
		s, err := d.Set()
		if err != nil {
			if !isSyntax(err) {
				t.Fatalf("untyped error %T", err)
			}
			return
		}
		ranges := s.Resolve(last)
		for i, r := range ranges {
			if r.Start == 0 || r.Start > r.Stop || i > 0 && r.Start <= ranges[i-1].Stop+1 {
				t.Fatalf("%q of %d: ranges %v", in, last, ranges)
			}
		}
		for _, r := range s.Ranges {
			for _, n := range []uint32{r.Start, r.Stop} {
				if n == Star {
					n = last
				}
				if last > 0 && !slices.ContainsFunc(ranges, func(r Range) bool { return r.Start <= n && n <= r.Stop }) {
					t.Fatalf("%q of %d: %d is not in %v", in, last, n, ranges)
				}
			}
		}
	})
}
