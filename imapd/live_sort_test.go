package imapd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
)

// oddMail makes messages whose fields SORT and THREAD look at are of every kind that is met.
func oddMail(r *rand.Rand, n int) []string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	id := func() string { return fmt.Sprintf("<m%d@example.org>", r.IntN(n)) }
	subject := func() string {
		s := pick("Hello", "hello", "Überraschung", "=?utf-8?q?=C3=9Cberraschung?=", "=?iso-8859-1?q?=DCberraschung?=", "[list] news", "a", "",
			"  two  words ", "two words", "ﬁne", "Ｗｉｄｅ", "=?utf-8?b?UmU6IEhlbGxv?=", "\tTab", "[x]", "[x][y]", "x [y]", "Ærø", "ångström", "한글", "éa", "e\u0301a")
		for range r.IntN(4) {
			switch r.IntN(9) {
			case 0, 1, 2:
				s = "Re: " + s
			case 3:
				s = "FWD:" + s
			case 4:
				s += " (fwd)"
			case 5:
				s = "[fwd: " + s + "]"
			case 6:
				s = "[tag] " + s
			case 7:
				s = "re[2]: " + s
			case 8:
				s = "Re\r\n\t: " + s
			}
		}
		return s
	}
	address := func() string {
		return pick("ann@example.org", "Ann Example <Ann@example.org>", `"Bob, B." <bob@x.example>`, "=?utf-8?q?J=C3=BCrgen?= <j@example.org>",
			"friends: c@d, e@f;", "undisclosed-recipients:;", "carol@example.net (Carol)", "<zoe@example.org>", "émile@example.org", "a@b, c@d", `"q q"@example.org`)
	}
	var out []string
	for i := range n {
		var b strings.Builder
		field := func(often int, name string, value func() string) {
			if r.IntN(100) < often {
				fmt.Fprintf(&b, "%s: %s\r\n", name, value())
			}
		}
		field(90, "Date", func() string {
			return fmt.Sprintf("%s%d %s %d %02d:%02d:%02d %s", pick("", "Mon, ", "Tue, "), 1+r.IntN(28), pick("Jan", "Feb", "mar"), 2020+r.IntN(3), r.IntN(24),
				r.IntN(60), r.IntN(60), pick("+0000", "-0800", "+0530", "GMT", "EST", "(x)", ""))
		})
		field(95, "Subject", subject)
		field(95, "From", address)
		field(80, "To", address)
		field(30, "Cc", address)
		field(5, "Subject", subject)
		field(90, "Message-ID", func() string {
			switch r.IntN(12) {
			case 0:
				return id() // another's, maybe
			case 1:
				return pick("broken", "<broken>", "<a@b", "")
			case 2:
				return fmt.Sprintf("<\"m%d\"@example.org>", i)
			case 3:
				return fmt.Sprintf("<m%d@\r\n example.org>", i)
			}
			return fmt.Sprintf("<m%d@example.org>", i)
		})
		field(60, "References", func() string {
			var ids []string
			for range r.IntN(5) {
				ids = append(ids, id())
			}
			if r.IntN(10) == 0 {
				ids = append(ids, pick("junk", "<junk>", `<"m3"@example.org>`, "<no>, <m4@example.org>"))
			}
			return strings.Join(ids, pick(" ", "\r\n ", ""))
		})
		field(40, "In-Reply-To", func() string { return pick("Your message of today ", "") + id() + id() })
		field(5, "References", id)
		fmt.Fprintf(&b, "\r\n%s\r\n", strings.Repeat("x", r.IntN(100)))
		out = append(out, b.String())
	}
	return out
}

var sortCommands = []string{
	"SORT (ARRIVAL) UTF-8 ALL", "SORT (REVERSE ARRIVAL) UTF-8 ALL", "SORT (SIZE) UTF-8 ALL", "SORT (REVERSE SIZE DATE) UTF-8 ALL",
	"SORT (DATE) UTF-8 ALL", "SORT (REVERSE DATE) US-ASCII ALL", "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE SUBJECT) UTF-8 ALL",
	"SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "SORT (FROM) UTF-8 ALL", "SORT (TO) UTF-8 ALL", "SORT (CC SUBJECT) UTF-8 ALL",
	"SORT (DISPLAYFROM) UTF-8 ALL", "SORT (DISPLAYTO REVERSE SIZE) UTF-8 ALL", "SORT (REVERSE DISPLAYFROM SUBJECT) UTF-8 ALL",
	"UID SORT (SUBJECT) UTF-8 SUBJECT a", "UID SORT RETURN () (DATE) UTF-8 ALL", "SORT RETURN (MIN MAX COUNT ALL) (SUBJECT) UTF-8 2:*",
	"SORT RETURN (PARTIAL 3:9 COUNT) (FROM) UTF-8 ALL", "SORT RETURN (PARTIAL 90000:90001) (FROM) UTF-8 ALL", "SORT (DATE) UTF-8 BODY nothingofthekind",
	"THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL", "THREAD REFS UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL",
	"THREAD REFERENCES UTF-8 5:60", "THREAD REFS UTF-8 SUBJECT e", "THREAD ORDEREDSUBJECT UTF-8 20:*", "UID THREAD REFS UTF-8 NOT SUBJECT hello",
	"SEARCH RETURN (PARTIAL 2:5) ALL", "SEARCH RETURN (PARTIAL 2:5 COUNT MIN MAX) SUBJECT e",
	"SORT (FOO) UTF-8 ALL", "SORT () UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL", "SORT DATE UTF-8 ALL", "THREAD FOO UTF-8 ALL", "SORT (DATE) X-NONE ALL",
	"THREAD REFERENCES X-NONE ALL", "SEARCH RETURN (PARTIAL 1:2 ALL) ALL", "SEARCH RETURN (PARTIAL 0:2) ALL",
}

// TestDovecotSort compares SORT and THREAD with Dovecot's.
func TestDovecotSort(t *testing.T) {
	sets := map[string][]string{"vectors": nil}
	paths, err := filepath.Glob("../testdata/vectors/messages/*.eml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 && len(b) < 300_000 && !dcrypt.IsEncrypted(b) && compress.Detect(b) == "" {
			sets["vectors"] = append(sets["vectors"], string(b))
		}
	}
	for seed := range uint64(4) {
		sets[fmt.Sprint("seed ", seed)] = oddMail(rand.New(rand.NewPCG(seed, 1)), 80)
	}
	for name, messages := range sets {
		t.Run(name, func(t *testing.T) { compareSort(t, messages) })
	}
}

// compareSort gives all commands to both.
func compareSort(t *testing.T, messages []string) {
	theirs := dovecot(t, messages)
	f := newFixture(t)
	for _, m := range messages {
		f.add("INBOX", m)
	}
	c := f.login()
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	ours := &imapPipe{t, c.nc, c.r}
	for _, p := range []*imapPipe{ours, theirs} {
		if _, kind := p.command("EXAMINE INBOX"); kind != "OK" {
			t.Fatal(kind)
		}
	}
	for _, command := range sortCommands {
		got, gotKind := ours.command(command)
		want, wantKind := theirs.command(command)
		g, w := strings.Join(got, ""), strings.ReplaceAll(strings.Join(want, ""), "* THREAD \r\n", "* THREAD\r\n")
		if gotKind != wantKind || g != w {
			t.Errorf("%s:\n got %s %s\nwant %s %s", command, gotKind, g, wantKind, w)
		}
	}
}
