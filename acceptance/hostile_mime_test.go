package acceptance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// bombs are messages that cost a careless parser time, stack or memory far above their
// size.
func bombs() map[string]string {
	const multipart = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n"
	b := map[string]string{}

	var s strings.Builder
	fmt.Fprintf(&s, multipart, "b0")
	for i := range 5000 {
		fmt.Fprintf(&s, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	b["5,000 multiparts in each other"] = s.String()

	s.Reset()
	fmt.Fprintf(&s, multipart, "b")
	for range 20_000 {
		s.WriteString("--b\r\nContent-Type: text/plain; name=x\r\n\r\nx\r\n")
	}
	b["20,000 parts"] = s.String() + "--b--\r\n"

	s.Reset()
	fmt.Fprintf(&s, multipart, "b")
	s.WriteString(strings.Repeat("--b\r\n\r\n", 200_000))
	b["200,000 empty parts"] = s.String()

	b["5,000 messages in each other"] = strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 5000) + "Subject: x\r\n\r\nx\r\n"

	b["100,000 addresses"] = "From: a@b\r\nTo: " + strings.Repeat("\"x y\" <a@example.org>,\r\n ", 100_000) + "z@b\r\n\r\nx\r\n"
	b["100,000 address fields"] = strings.Repeat("To: a@example.org\r\n", 100_000) + "\r\nx\r\n"
	b["100,000 groups and comments"] = "To: " + strings.Repeat("g:(c(c(c)\\)):a@b;,", 100_000) + "\r\nFrom: " + strings.Repeat("(", 500_000) + "\r\n\r\nx\r\n"
	b["address field of quotes and backslashes"] = "To: \"" + strings.Repeat("\\\"", 500_000) + "\r\nCc: (x\\\r\nBcc: " + strings.Repeat("<", 200_000) + "\r\n\r\nx\r\n"
	b["header field of 8 MB"] = "Subject: " + strings.Repeat("=?utf-8?q?x?= ", 600_000) + "\r\nX: y\r\n\r\nx\r\n"
	b["100,000 header fields"] = strings.Repeat("X-A: b\r\n", 100_000) + "Subject: found\r\n\r\nx\r\n"
	b["folded 1,000,000 times"] = "Subject: x" + strings.Repeat("\r\n ", 1_000_000) + "\r\n\r\nx\r\n"
	b["100,000 parameters"] = "Content-Type: text/plain" + strings.Repeat("; x*0*=utf-8''%41; x*1=b", 50_000) + "\r\nContent-Disposition: attachment" + strings.Repeat("; filename*9999=a", 50_000) + "\r\n\r\nx\r\n"
	b["boundary that never comes"] = fmt.Sprintf(multipart, "never") + strings.Repeat("--neve\r\n--", 500_000)
	b["boundary of 100,000 characters"] = fmt.Sprintf(multipart, strings.Repeat("b", 100_000)) + strings.Repeat("--"+strings.Repeat("b", 99_999)+"\r\n", 20)
	b["no boundary"] = fmt.Sprintf(multipart, `""`) + strings.Repeat("--\r\n", 500_000)
	b["no body"] = "Subject: x"
	b["nothing but CR and 8 bit"] = strings.Repeat("\xff\xfe\x80\r", 500_000) + "x"
	b["base64 that is none"] = "Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n" + strings.Repeat("=*=?", 500_000)
	b["a line of 5 MB"] = "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=3D ", 1_300_000)
	return b
}

// TestMIMEBombs stores each bomb and asks for everything that needs it parsed. The answers
// are bounded in time and size, and the message comes back as it went in.
func TestMIMEBombs(t *testing.T) {
	t.Parallel()
	d := hostileDaemon(t)
	d.witness(t)
	c := login(t, d.imap, "u", "pass")
	c.do("CREATE Bombs")
	for name, m := range bombs() {
		t.Run(name, func(t *testing.T) {
			c := login(t, d.imap, "u", "pass")
			defer c.close()
			begun := time.Now()
			a := c.do("APPEND Bombs ~{%d+}\r\n%s", len(m), m)
			if !a.ok() {
				t.Fatal(tail(a.tagged, 200))
			}
			if n := c.do("SELECT Bombs"); !n.ok() {
				t.Fatal(n.tagged)
			}
			for _, command := range []string{
				"FETCH * ENVELOPE", "FETCH * BODYSTRUCTURE", "FETCH * (ENVELOPE BODY RFC822.SIZE)", "FETCH * BODY.PEEK[HEADER.FIELDS (Subject To)]",
				"FETCH * BODY.PEEK[HEADER]", "FETCH * (BODY.PEEK[1] BODY.PEEK[1.1.1.1.1.MIME] BODY.PEEK[10000])",
				"UID SEARCH UID * SUBJECT found", "UID SEARCH UID * TEXT nowhere", "UID SEARCH UID * BODY nowhere FROM x TO y SENTON 1-Jan-2020",
			} {
				a := c.do("%s", command)
				if !a.ok() {
					t.Errorf("%s: %s", command, a.tagged)
				}
				size := 0
				for _, u := range a.untagged {
					size += len(u.line)
					for _, l := range u.literals {
						size += len(l)
					}
				}
				if size > 4*len(m)+8<<20 {
					t.Errorf("%s: %d octets about a message of %d", command, size, len(m))
				}
			}
			c.do("FETCH * BINARY.SIZE[1]") // may not know the encoding
			a = c.do("FETCH * BODY.PEEK[]")
			if !a.ok() || len(a.untagged) != 1 || len(a.untagged[0].literals) != 1 {
				t.Fatalf("BODY[]: %s", a.tagged)
			}
			// Line ends are the store's, and NUL does not fit a plain literal.
			flat := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }
			if got := a.untagged[0].literals[0]; !bytes.Equal(flat(got), flat([]byte(m))) {
				t.Errorf("came back altered: %d octets of %d", len(got), len(m))
			}
			// No assertion of speed, but no hanging either.
			if took := time.Since(begun); took > 60*time.Second {
				t.Errorf("took %v", took)
			} else {
				t.Logf("%d octets took %v, most memory %d MB", len(m), took, d.memory(t)>>10)
			}
		})
	}
	t.Run("at LMTP", func(t *testing.T) {
		for name, m := range bombs() {
			replies, err := deliverLMTP(d.lmtp, "a@b", []string{"u"}, []byte(m))
			if err != nil || !strings.HasPrefix(replies[0], "250") {
				t.Errorf("%s: %v %v", name, replies, err)
			}
		}
	})
	d.unharmed(t)
}
