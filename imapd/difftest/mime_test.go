package difftest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mimeCommands are given to a mailbox of odd messages.
var mimeCommands = []string{
	"FETCH %s (RFC822.SIZE ENVELOPE)",
	"FETCH %s BODYSTRUCTURE",
	"FETCH %s BODY",
	"FETCH %s (BODY.PEEK[HEADER] BODY.PEEK[TEXT])",
	"FETCH %s BODY.PEEK[HEADER.FIELDS (subject from content-type received)]",
	"FETCH %s BODY.PEEK[HEADER.FIELDS.NOT (subject content-type)]",
	"FETCH %s (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[2.MIME])",
	"FETCH %s (BODY.PEEK[1.1] BODY.PEEK[1.1.MIME] BODY.PEEK[1.HEADER] BODY.PEEK[2.TEXT] BODY.PEEK[2.1.1])",
	"FETCH %s (BODY.PEEK[]<3.50> BODY.PEEK[1]<5.20>)",
}

// mimeSearches find messages among all.
var mimeSearches = []string{
	"SEARCH SUBJECT e", "SEARCH FROM example", "SEARCH TO a", `SEARCH HEADER Content-Type ""`, "SEARCH SMALLER 700",
	`SEARCH SENTSINCE 1-Jan-2024 HEADER Date ""`, "SORT (SUBJECT) UTF-8 ALL", "SORT (FROM) UTF-8 ALL",
	"SORT (TO) UTF-8 ALL", "SORT (CC SIZE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL",
}

// seedMessages are what mutations begin with.
func seedMessages(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, pattern := range []string{"testdata/mail/*.eml", "../../testdata/vectors/messages/*.eml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no messages %s: %v", pattern, err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 100 && len(b) < 10_000 && plain(b) {
				all = append(all, bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
			}
		}
	}
	return all
}

// plain reports whether nobody can take a message for something encrypted or compressed.
func plain(b []byte) bool {
	return len(b) > 3 && b[0] > ' ' && b[0] < 0x7f && !bytes.HasPrefix(b, []byte("CRYPTED")) && !bytes.HasPrefix(b, []byte("BZ"))
}

// Lines that mutations put in.
var oddLines = []string{
	"Content-Type: multipart/mixed; boundary=inner", `Content-Type: multipart/alternative; boundary="a b"`, "Content-Type: multipart/digest; boundary=deep",
	"Content-Type: message/rfc822", "Content-Type: text", "Content-Type: text/", "Content-Type: ;charset=x", "Content-Type: text/html; charset=\"utf-8\"; name*=utf-8''%e2%82%ac",
	"Content-Type: text/plain; name*0=\"a\"; name*1=\"b\"; charset=", "content-type : text/plain", "Content-Type: multipart/mixed", "Content-Type:", "Content-Type: application/octet-stream (comment (nested)); x=(y)",
	"Content-Transfer-Encoding: 8BIT", "Content-Transfer-Encoding: base64 (x)", "Content-Transfer-Encoding: x-foo", "Content-Disposition: attachment; filename=\"a\\\"b.txt\"", "Content-Disposition: ;", "Content-Language: (x) en, de-DE ; q=1",
	"Content-ID: <a b>", "Content-Description: =?utf-8?Q?x?= \"quoted\" \\back", "Content-MD5: ", "Content-Location: http://x/ y",
	"--inner", "--inner--", "--outer boundary", "--outer boundary--", "--deep", "--a b", "--", "-- ", "--inner  ", "--innerx",
	"From: undisclosed-recipients:;", "From: a@b, c@d", "From: \"x", "From: <@route:a@b>", "From: Group: a@b, \"C D\" <c@d>; , e@f", "From: a b c@d.e", "From: (comment) a@b (more)", "From: <>", "From:", "To: a@[1.2.3.4]", "Cc: =?x?Q?y?= <z@w>",
	"To: a.b.@c, \"d\"@e, f g@h", "Sender: ,,", "Reply-To: x@y (N. N.)", "Bcc: \"\\\\\" <q@r>", "To: a@b c@d", "To: very long name that goes on <l@m.n",
	"Date: Mon, 99 Foo 2024 25:61:61 +9999", "Date: 1 Jan 70", "Date: Mon,  5 Feb 2024 10:00 GMT (x)", "Message-ID: no brackets", "Message-ID: <a@b> <c@d>", "In-Reply-To: \"x\" <y@z> text", "References: <a@b><c@d> <bad", "Subject: Re: [x] Fwd: re: hello (fwd)",
	"Subject: =?utf-8?Q?a?= =?utf-8?Q?b?=", "Subject:", "Subject", ": empty name", "X Y: z", " folded", "\tfolded", "", "", "x", "From me Mon Jan 1", "Received: \xff\xfe", "Subject: \xc3\xbc raw",
}

// mutate makes an odd message. A line of text never begins it as magic of a compression.
func mutate(r *rand.Rand, seeds [][]byte) []byte {
	for {
		lines := strings.Split(string(seeds[r.IntN(len(seeds))]), "\n")
		for range 1 + r.IntN(4) {
			at := r.IntN(len(lines))
			odd := oddLines[r.IntN(len(oddLines))]
			switch r.IntN(10) {
			case 0, 1, 2:
				lines = slices.Insert(lines, min(at, r.IntN(12)), odd) // into the header
			case 3:
				lines = slices.Insert(lines, at, odd)
			case 4:
				lines = slices.Delete(lines, at, min(at+1+r.IntN(3), len(lines)))
			case 5:
				lines[at] = odd
			case 6:
				lines = slices.Insert(lines, at, slices.Clone(lines[r.IntN(at+1):at+1])...)
			case 7:
				lines = lines[:at+1]
			case 8:
				if n := len(lines[at]); n > 0 {
					b := []byte(lines[at])
					b[r.IntN(n)] = "\"\\()<>@,;:[]?.= \t\x01\x7f-"[r.IntN(20)]
					lines[at] = string(b)
				}
			case 9:
				lines[at] += []string{"\r", " ", "\t", ";", "\"", "\r\r"}[r.IntN(6)]
			}
			if len(lines) == 0 {
				lines = []string{"x"}
			}
		}
		sep := "\n"
		if r.IntN(4) == 0 {
			sep = "\r\n"
		}
		if lines[len(lines)-1] != "" { // what Dovecot says of a header without line end depends on its cache
			lines = append(lines, "")
		}
		if b := []byte(strings.Join(lines, sep)); plain(b) && usualDates(b) {
			return b
		}
	}
}

// usualDates reports whether a message has one Date at most, and a plain one: which of
// several Dovecot takes, and what it reads of a broken one, depends on its cache.
func usualDates(b []byte) bool {
	found := dateLine.FindAll(b, -1)
	return len(found) == 0 || len(found) == 1 && plainDate.Match(found[0])
}

var (
	dateLine  = regexp.MustCompile(`(?im)^date[ \t]*:.*`)
	plainDate = regexp.MustCompile(`(?i)^date: *[a-z]{3}, +[0-9]{1,2} [a-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} [-+][0-9]{4}( \([A-Z]+\))?[ \t\r]*$`)
)

// A mimeRun is both servers over the same messages.
type mimeRun struct {
	place        *place
	ours, theirs *talk
}

func (w *world) mimeRun(messages [][]byte) (*mimeRun, error) {
	w.mu.Lock()
	w.count++
	dir := filepath.Join(w.dir, "mime"+strconv.Itoa(w.count))
	w.mu.Unlock()
	defer os.RemoveAll(dir)
	b := &builder{root: dir, validity: 1_700_000_000}
	if err := b.line("folder", "INBOX"); err != nil {
		return nil, err
	}
	for i, m := range messages {
		if err := b.add(strconv.Itoa(i+1), "S", time.Unix(1_700_000_000, 0), m, true); err != nil {
			return nil, err
		}
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	p, err := w.newPlaceFrom(dir, "")
	if err != nil {
		return nil, err
	}
	m := &mimeRun{place: p}
	if m.ours, err = p.dialOurs(); err != nil {
		return nil, err
	}
	if m.theirs, err = p.dialTheirs(); err != nil {
		m.ours.close()
		return nil, err
	}
	m.both("EXAMINE INBOX")
	return m, nil
}

func (m *mimeRun) close() {
	m.ours.close()
	m.theirs.close()
	m.place.remove()
}

func (m *mimeRun) both(command string) (ours, theirs []string) {
	p := []piece{piece(command + "\r\n")}
	n := &normaliser{symbols: map[string]string{}, values: map[string]string{}, counts: map[string]int{}}
	return n.responses(m.ours.command(p)), n.responses(m.theirs.command(p))
}

// TestMIME compares what both make of mutated messages.
func TestMIME(t *testing.T) {
	w := newWorld(t)
	from, to := seeds(t)
	r := rand.New(rand.NewPCG(from, to))
	originals := seedMessages(t)
	var messages [][]byte
	for range 5 * (to - from + 1) {
		messages = append(messages, mutate(r, originals))
	}
	m, err := w.mimeRun(messages)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	bad := 0
	for _, command := range mimeCommands {
		ours, theirs := m.both(fmt.Sprintf(command, "1:*"))
		for i, msg := range messages {
			if i >= len(ours) || i >= len(theirs) {
				t.Fatalf("%s: %d answers, Dovecot %d; to %d messages", command, len(ours), len(theirs), len(messages))
			}
			if ours[i] == theirs[i] || bad >= 10 {
				continue
			}
			bad++
			w.shrinkMessage(t, msg, command)
		}
	}
	for _, command := range mimeSearches {
		ours, theirs := m.both(command)
		if slices.Equal(ours, theirs) {
			continue
		}
		if !strings.HasPrefix(command, "SEARCH ") {
			t.Errorf("%s\n%s", command, diff(ours, theirs))
			if a, b := swapped(ours[0], theirs[0]); a > 0 {
				t.Errorf("we have before the other\n%q\n%q", messages[a-1], messages[b-1])
			}
			continue
		}
		found := oneSided(ours[0], theirs[0])
		if strings.HasPrefix(command, "SEARCH FROM") || strings.HasPrefix(command, "SEARCH TO") { // "addresses that are none, in searches"
			found = slices.DeleteFunc(found, func(n int) bool { return slices.Contains(strings.Fields(ours[0]), strconv.Itoa(n)) })
		}
		if len(found) > 0 {
			t.Errorf("%s\n%s", command, diff(ours, theirs))
		}
		for i, n := range found {
			if i < 5 {
				w.shrinkMessage(t, messages[n-1], command)
			}
		}
	}
}

// swapped are two neighbours of a SORT response that stand the other way round in another one.
func swapped(ours, theirs string) (a, b int) {
	x, y := strings.Fields(ours), strings.Fields(theirs)
	for i := 1; i < len(x); i++ {
		if j, k := slices.Index(y, x[i-1]), slices.Index(y, x[i]); k >= 0 && k < j {
			a, _ = strconv.Atoi(x[i-1])
			b, _ = strconv.Atoi(x[i])
			return a, b
		}
	}
	return 0, 0
}

// oneSided are the numbers that only one of two SEARCH responses holds.
func oneSided(a, b string) (out []int) {
	x, y := strings.Fields(a), strings.Fields(b)
	for _, f := range append(slices.Clone(x), y...) {
		if n, err := strconv.Atoi(f); err == nil && slices.Contains(x, f) != slices.Contains(y, f) {
			out = append(out, n)
		}
	}
	return out
}

// shrinkMessage drops lines as long as the answers differ, and reports.
func (w *world) shrinkMessage(t *testing.T, msg []byte, command string) {
	t.Helper()
	differs := func(msg []byte) string {
		m, err := w.mimeRun([][]byte{msg})
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		ours, theirs := m.both(fmt.Sprintf(command, "1"))
		if slices.Equal(ours, theirs) {
			return ""
		}
		return diff(ours, theirs)
	}
	found := differs(msg)
	lines := bytes.SplitAfter(msg, []byte("\n"))
	for size := max(len(lines)/2, 1); size > 0; size /= 2 {
		for at := 0; at < len(lines); {
			fewer := slices.Delete(slices.Clone(lines), at, min(at+size, len(lines)))
			smaller := bytes.Join(fewer, nil)
			if f := ""; plain(smaller) && bytes.HasSuffix(smaller, []byte("\n")) {
				if f = differs(smaller); f != "" {
					lines, msg, found = fewer, smaller, f
					continue
				}
			}
			at += size
		}
	}
	t.Errorf("%s of\n%q\n%s", command, msg, found)
}
