package imapd

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// fetchBinary fetches one BINARY item of message 1 and returns its octets.
func fetchBinary(t *testing.T, c *client, item string) []byte {
	t.Helper()
	c.send("b FETCH 1 (" + item + ")")
	line := c.line()
	open := strings.LastIndexByte(line, '{')
	if open < 0 {
		t.Fatalf("%s: %s", item, line)
	}
	var n int
	fmt.Sscanf(line[open:], "{%d}", &n)
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		t.Fatal(err)
	}
	c.until("b OK")
	return b
}

// TestBinaryPieces fetches a large attachment in pieces, as clients do. Each piece must not
// cost the whole: in order, the message is read twice, once to count and once to send.
func TestBinaryPieces(t *testing.T) {
	data := make([]byte, 400_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	var text strings.Builder
	text.WriteString("Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Transfer-Encoding: base64\n\n")
	for rest := base64.StdEncoding.EncodeToString(data); rest != ""; {
		n := min(76, len(rest))
		text.WriteString(rest[:n] + "\n")
		rest = rest[n:]
	}
	text.WriteString("\n--b\nContent-Transfer-Encoding: quoted-printable\n\nsmall=3Dpart=\n\n--b--\n")
	f := newFixture(t)
	f.add("INBOX", text.String())
	c := f.selected("INBOX")

	const step = 20_000
	var all []byte
	for at := 0; at < len(data); at += step {
		all = append(all, fetchBinary(t, c, fmt.Sprintf("BINARY.PEEK[1]<%d.%d>", at, step))...)
	}
	if !bytes.Equal(all, data) {
		t.Errorf("in pieces it is something else: %d octets of %d", len(all), len(data))
	}
	f.user.mu.Lock()
	read := f.user.octets
	f.user.mu.Unlock()
	// The structure is one more pass.
	if most := int64(text.Len()) * 4; read > most {
		t.Errorf("%d pieces took %d octets of a message of %d", len(data)/step, read, text.Len())
	}

	// Any order, and two parts at once.
	for range 30 {
		at, n := rnd.IntN(len(data)+10), 1+rnd.IntN(50_000)
		want := data[min(at, len(data)):min(at+n, len(data))]
		if got := fetchBinary(t, c, fmt.Sprintf("BINARY.PEEK[1]<%d.%d>", at, n)); !bytes.Equal(got, want) {
			t.Errorf("<%d.%d>: %d octets, want %d", at, n, len(got), len(want))
		}
		if got := fetchBinary(t, c, "BINARY.PEEK[2]<1.6>"); string(got) != "mall=p" {
			t.Errorf("the second part gives %q", got)
		}
	}
	c.send("d FETCH 1 (BINARY.PEEK[1]<300000.10> BINARY.SIZE[2] BINARY.PEEK[1]<5.10> BINARY.SIZE[1])")
	line := c.line()
	b := make([]byte, 10)
	io.ReadFull(c.r, b)
	if !strings.Contains(line, "BINARY[1]<300000> ~{10}") || !bytes.Equal(b, data[300000:300010]) {
		t.Errorf("%s: %x", line, b)
	}
	line = c.line()
	io.ReadFull(c.r, b)
	if !strings.Contains(line, "BINARY.SIZE[2] 10 BINARY[1]<5> ~{10}") || !bytes.Equal(b, data[5:15]) {
		t.Errorf("%s: %x", line, b)
	}
	if line = c.line(); line != " BINARY.SIZE[1] 400000)" {
		t.Errorf("%q", line)
	}
}
