package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBaseSubject(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		reply    bool
	}{
		{"", "", false},
		{"Hello", "HELLO", false},
		{"  Hello \t world\r\n of  mail ", "HELLO WORLD OF MAIL", false},
		{"Re: Hello", "HELLO", true},
		{"RE : re:Re:Hello", "HELLO", true},
		{"Fw: Fwd: hello (fwd) (FWD)", "HELLO", true},
		{"hello(fwd)", "HELLO", true},
		{"Re[2]: hello", "HELLO", true},
		{"Re [x] : hello", "HELLO", true},
		{"[list] Re: hello", "HELLO", true},
		{"[list] [more] hello", "HELLO", false},
		{"Re: [list] Re: [more] hello", "HELLO", true},
		{"[list]", "[LIST]", false},
		{"[a][b]", "[B]", false},
		{"Re: [a] [b]", "[B]", true},
		{"[fwd: hello]", "HELLO", true},
		{"[Fwd: Re: [list] hello (fwd)]", "HELLO", true},
		{"[fwd: [fwd: hello] (fwd)]", "HELLO", true},
		{"[unfinished hello", "[UNFINISHED HELLO", false},
		{"[[nested] hello", "[[NESTED] HELLO", false},
		{"Re:", "", true},
		{"Reminder: hello", "REMINDER: HELLO", false},
		{"Fwdx: hello", "FWDX: HELLO", false},
		{"=?utf-8?q?Re=3A_=C3=BCber?= =?utf-8?q?_uns?=", "U\u0308BER UNS", true},
		{"Ｒｅ：ｈｅｌｌｏ", "HELLO", true},
		{"AW: hello", "AW: HELLO", false},
	} {
		got, reply := BaseSubject([]byte(tt.in))
		if got != tt.want || reply != tt.reply {
			t.Errorf("%q: %q, %v; want %q, %v", tt.in, got, reply, tt.want, tt.reply)
		}
	}
}

// Each of these is quadratic if runs are looked through again and again.
func TestBaseSubjectHostile(t *testing.T) {
	for _, s := range []string{"[a]", "[", "[fwd:", "re:", "(fwd)", " ", "[a] ", "re[", "[]", "]", "=?", "=?a?q?"} {
		for _, tail := range []string{"", "x", "]", strings.Repeat("]", maxSubject)} {
			got, _ := BaseSubject([]byte(strings.Repeat(s, 1<<20/len(s)) + tail))
			if len(got) > 4*maxSubject {
				t.Errorf("%q: %d octets", s, len(got))
			}
		}
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: [a] [fwd: x (fwd)]", "=?utf-8?b?UmU6IHg=?=", "Re [a]: x", " \t\r\n ", "[a][b]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := BaseSubject([]byte(s))
		if !utf8.ValidString(base) {
			t.Fatalf("%q is not UTF-8", base)
		}
		if strings.Contains(base, "  ") || strings.HasPrefix(base, "RE:") || strings.HasSuffix(base, "(FWD)") {
			t.Fatalf("%q is not a base subject", base)
		}
	})
}

func TestCasemap(t *testing.T) {
	for in, want := range map[string]string{
		"Hello": "HELLO", "straße": "STRAßE", "Ärger": "A\u0308RGER", "ǆ": "Dz\u030c", "\xff": "\ufffd", "": "",
		"ﬀ": "ff", "한": "\u1112\u1161\u11ab",
	} {
		if got := Casemap(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
