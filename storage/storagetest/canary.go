package storagetest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/compress"
)

// A Canary is a message with a unique word at every place where mail has text. Save
// it, do what is to be tested, and Check that no file holds any of the words.
type Canary struct {
	words    []string
	message  []byte
	patterns []pattern
}

type pattern struct {
	form  string
	bytes []byte
}

// canaryHeaders are the headers that get a word each.
var canaryHeaders = []string{"From", "To", "Cc", "Subject", "Message-ID", "In-Reply-To", "References", "List-Id", "X-Canary"}

// NewCanary returns a Canary whose words nobody has used before.
func NewCanary() *Canary {
	c := &Canary{}
	var b strings.Builder
	for _, h := range canaryHeaders {
		w := c.word()
		switch h {
		case "From", "To", "Cc":
			fmt.Fprintf(&b, "%s: %s <%s@example.org>\r\n", h, w, c.word())
		case "Message-ID", "In-Reply-To", "References", "List-Id":
			fmt.Fprintf(&b, "%s: <%s@example.org>\r\n", h, w)
		default:
			fmt.Fprintf(&b, "%s: %s\r\n", h, w)
		}
	}
	b.WriteString("Date: Sat, 22 Nov 2025 10:00:00 +0000\r\nMIME-Version: 1.0\r\n")
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", c.word())
	fmt.Fprintf(&b, "%s\r\n--x\r\nContent-Disposition: attachment; filename=%s.txt\r\n\r\n%s\r\n%s",
		c.word(), c.word(), c.word(), c.word())
	c.message = []byte(b.String())
	return c
}

// word makes a new word of letters only, which survives most encodings of mail as it
// is, and the patterns of the others.
func (c *Canary) word() string {
	w := "canary" + strings.ToLower(rand.Text()[:14])
	c.words = append(c.words, w)
	add := func(form string, b []byte) { c.patterns = append(c.patterns, pattern{form, b}) }
	add("raw", []byte(w))
	add("upper case", []byte(strings.ToUpper(w)))
	add("hex", []byte(hex.EncodeToString([]byte(w))))
	add("upper-case hex", []byte(strings.ToUpper(hex.EncodeToString([]byte(w)))))
	var qp strings.Builder
	var le, be []byte
	for _, r := range []byte(w) {
		fmt.Fprintf(&qp, "=%02X", r)
		le = append(le, r, 0)
		be = append(be, 0, r)
	}
	add("quoted-printable", []byte(qp.String()))
	add("UTF-16LE", le)
	add("UTF-16BE", be)
	for shift := range 3 {
		// Whatever stands around it, these characters of the base64 depend on the word only.
		enc := base64.StdEncoding.EncodeToString(append(make([]byte, shift), w...))
		from := (shift*8 + 5) / 6
		to := (shift + len(w)) * 8 / 6
		add(fmt.Sprintf("base64 at offset %d", shift), []byte(enc[from:to]))
	}
	return w
}

// Message is the mail, with CRLF line ends.
func (c *Canary) Message() []byte { return bytes.Clone(c.message) }

// Words are the words of the mail.
func (c *Canary) Words() []string { return c.words }

// Find reports in which form the first of the words is found in b, "" if none is.
// Encodings are looked for with and without line breaks, and b is decompressed if it
// begins like something compressed.
func (c *Canary) Find(b []byte) string {
	if form := c.find(b); form != "" {
		return form
	}
	joined := bytes.Join(bytes.FieldsFunc(b, func(r rune) bool { return r == '\r' || r == '\n' }), nil)
	if form := c.find(joined); form != "" {
		return form + " over lines"
	}
	if m := compress.Detect(b); m != compress.None {
		z, err := compress.NewReader(bytes.NewReader(b), m, 1<<28)
		if err != nil {
			return ""
		}
		defer z.Close()
		if text, _ := io.ReadAll(z); len(text) > 0 {
			if form := c.find(text); form != "" {
				return form + " in " + string(m)
			}
		}
	}
	return ""
}

func (c *Canary) find(b []byte) string {
	for _, p := range c.patterns {
		if bytes.Contains(b, p.bytes) {
			return p.form
		}
	}
	return ""
}

// Check fails the test for every file below root that holds a word, in its name, its
// link target or its contents. It returns how many files it read: a check of none
// proves nothing.
func (c *Canary) Check(t testing.TB, root string) (files int) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if form := c.Find([]byte(path)); form != "" {
			t.Errorf("%s: a word of the message in the name, %s", path, form)
		}
		var content []byte
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			content = []byte(target)
		case d.Type().IsRegular():
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
			files++
		}
		if form := c.Find(content); form != "" {
			t.Errorf("%s: a word of the message, %s", path, form)
		}
		return nil
	})
	if err != nil {
		t.Errorf("looking for the words of the message: %v", err)
	}
	return files
}
