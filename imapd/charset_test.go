package imapd

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// TestCharsets: a text is found in a header and in a body in each character set that there
// is a decoder and a name for, and by a search in that character set.
func TestCharsets(t *testing.T) {
	var all []encoding.Encoding
	for _, list := range [][]encoding.Encoding{charmap.All, japanese.All, korean.All, simplifiedchinese.All, traditionalchinese.All, unicode.All} {
		all = append(all, list...)
	}
	f := newFixture(t)
	names := map[string]encoding.Encoding{}
	var order []string
	for _, e := range all {
		for _, index := range []*ianaindex.Index{ianaindex.MIME, ianaindex.IANA} {
			name, err := index.Name(e)
			if err != nil || names[name] != nil {
				continue
			}
			names[name] = e
			order = append(order, name)
			text, err := e.NewEncoder().String("x Zauber y")
			if err != nil {
				t.Fatal(err)
			}
			b64 := base64.StdEncoding.EncodeToString([]byte(text))
			word := "=?" + name + "?b?" + b64 + "?="
			if strings.Contains(name, ":") {
				word = "Zauber" // no token, and so no encoded word (RFC 2047 section 2)
			}
			f.add("INBOX", fmt.Sprintf("Subject: %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=%q\nContent-Transfer-Encoding: base64\n\n%s\n",
				word, name, b64))
		}
	}
	if len(order) < 30 {
		t.Fatalf("only %d character sets", len(order))
	}
	everything := fmt.Sprintf("* SEARCH%s", numbersTo(len(order)))
	c := f.selected("INBOX")
	for _, key := range []string{"SUBJECT", "BODY"} {
		c.send("a SEARCH " + key + " ZAUBER")
		if got := c.until("a "); got[0] != everything {
			t.Errorf("%s: %s", key, got[0])
		}
		for _, name := range order {
			text, err := names[name].NewEncoder().String("zauber")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "\x00") {
				continue // no literal can hold it
			}
			c.raw(fmt.Sprintf("a SEARCH CHARSET %s %s {%d+}\r\n%s\r\n", name, key, len(text), text))
			if got := c.until("a "); got[0] != everything {
				t.Errorf("%s in %s: %q", key, name, got)
			}
		}
	}
}

// numbersTo is " 1 2 3..."
func numbersTo(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %d", i+1)
	}
	return b.String()
}
