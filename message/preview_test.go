package message

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPreview(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		length   int
		want     string
	}{
		{"plain", "Subject: x\n\n  line\tone \n\n line two\n", 100, "line one line two"},
		{"empty", "Subject: x\n\n", 100, ""},
		{"no body", "Subject: x\n", 100, ""},
		{"white space", "\n \n\t\n", 100, ""},
		{"cut", "\n1234567890 234567890", 12, "1234567890 2"},
		{"cut before a space", "\nwhitespace and more", 10, "whitespace"},
		{"cut after a space", "\nwhitespace and more", 11, "whitespace"},
		{"characters, not bytes", "Content-Type: text/plain; charset=utf-8\n\nhyvää päivää", 11, "hyvää päivä"},
		{"quoted lines", "\nline1\n>quote2\n> quote3\n > line4\n\nline5\n", 100, "line1 > line4 line5"},
		{"all quoted", "\n>quote1\n>quote2\n", 100, ">quote1 quote2"},
		{"all quoted, cut", "\n> quoted long text", 8, ">quoted"},
		{"latin-1", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe=\n!", 100, "Grüße!"},
		{"8-bit without a charset", "\nGr\xfc\xdfe", 100, "Grüße"},
		{"base64", "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n", 100, "hello"},
		{"unknown encoding", "MIME-Version: 1.0\nContent-Transfer-Encoding: x-own\n\nhello\n", 100, "hello"},
		{"controls", "\n\xef\xbb\xbfa\x00b\x1b[0mc\x7f", 100, "ab[0mc"},
		{"attachment alone", "Content-Type: application/pdf\n\n%PDF\n", 100, ""},
		{"other text", "Content-Type: text/csv\n\na,b\n", 100, "a,b"},
		{"no type", "Content-Type: ???\n\nshown\n", 100, "shown"},
		{"HTML", "Content-Type: TEXT/HTML\n\n<p>a &amp; b<br>c</p>\n", 100, "a & b c"},
		{"XHTML", "Content-Type: application/xhtml+xml\n\n<p>a</p>\n", 100, "a"},
		{"HTML quotes", "Content-Type: text/html\n\nHow?<blockquote>ignored</blockquote>\n&gt; -foo\n", 100, "How?"},
		{"HTML quotes alone", "Content-Type: text/html\n\n<div><blockquote>kept</blockquote></div>", 100, ">kept"},
		{"second part", "Content-Type: multipart/mixed; boundary=b\n\nno\n--b\nContent-Type: text/html\n\n<p><!-- x --></p>\n--b\n\ntwo\n--b\n\nthree\n--b--\n", 100, "two"},
		{"enclosed", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ninner\n--b\n\nouter\n--b--\n", 100, "outer"},
		{"enclosed alone", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n\ninnermost\n", 100, "innermost"},
		{"nothing in", "Content-Type: multipart/mixed; boundary=b\n\ntext\n--b--\n", 100, ""},
	} {
		in := strings.ReplaceAll(tt.in, "\n", "\r\n")
		root, err := Scan(strings.NewReader(in), int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Preview(strings.NewReader(in), root, tt.length)
		if got != tt.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                         "",
		"a<br>b<br><br>c":                          "a b c",
		"a < b & c && d":                           "a < b & c && d",
		"&lt;&gt;&quot;&#65;":                      `<>"A`,
		"&nbsp;&eacute;&#x20AC;&#8364;":            "\u00a0é€€",
		"&unknown; &; &# &amp":                     "&unknown; &; &# &amp",
		"&" + strings.Repeat("x", 40) + ";":        "&" + strings.Repeat("x", 40) + ";",
		"&a b;":                                    "&a b;",
		"<a title='>' alt=\"\\\">\">x</a>":         "x ",
		"<!-- a --><!-- b -- ><!-- c --->d":        "d",
		"<!-- a":                                   "",
		"x<!DOCTYPE html>y":                        "x y",
		"<?xml version='1.0'?>y":                   "y",
		"<![CDATA[<&amp;]]>x<![cdata[y":            "<&amp;xy",
		"a<script>1 < 2 </b></SCRIPT >x</script>b": "a b",
		"a<style\n>x</style>b<styled>c":            "a b c",
		"<script>x":                                "",
		"a<blockquote>b<i>c</i></blockquote>d</blockquote>e": "a\n> b\n> c\n> \nd e",
		"<":   "",
		"a<b": "a",
	} {
		if got := string(htmlText([]byte(in))); got != want {
			t.Errorf("htmlText(%q) = %q, want %q", in, got, want)
		}
	}
}

// A thriftyReader counts bytes, and fails once its text is read beyond a place.
type thriftyReader struct {
	io.ReaderAt
	n, failAt int64
}

var errRead = errors.New("read failed")

func (r *thriftyReader) ReadAt(p []byte, off int64) (int, error) {
	if r.failAt > 0 && off >= r.failAt {
		return 0, errRead
	}
	n, err := r.ReaderAt.ReadAt(p, off)
	r.n += int64(n)
	return n, err
}

// However large a message is, little of it is read.
func TestPreviewReadsLittle(t *testing.T) {
	style := "<style>" + strings.Repeat("x", 200_000) + "</style>"
	in := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Type: text/html\r\n\r\n"+style+"text\r\n", 20) + "--b--\r\n"
	root, err := Scan(strings.NewReader(in), int64(len(in)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := &thriftyReader{ReaderAt: strings.NewReader(in)}
	if got, err := Preview(r, root, 200); got != "" || err != nil || r.n > previewAll {
		t.Errorf("%q, %v after %d bytes", got, err, r.n)
	}
	r.failAt = 100_000
	if _, err := Preview(r, root, 200); !errors.Is(err, errRead) {
		t.Errorf("failing reader: %v", err)
	}
}

// A preview is one short line of text, whatever the message.
func FuzzPreview(f *testing.F) {
	for _, s := range []string{
		"Content-Type: text/html\r\n\r\n<p>a &amp; b</p><!-- x --><script>y</script><blockquote>q</blockquote>",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n> x\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\r\ny\r\n--b--",
		"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA", "\r\n\xff\xfe\x00", "",
	} {
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, in []byte, length uint8) {
		root, err := Scan(strings.NewReader(string(in)), int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Preview(strings.NewReader(string(in)), root, int(length))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > int(length) || strings.ContainsFunc(got, unicode.IsControl) ||
			got != strings.Trim(got, " ") || strings.Contains(got, "  ") {
			t.Errorf("preview of %d characters: %q", length, got)
		}
	})
}

// HTML of any kind becomes text of about its length.
func FuzzHTMLText(f *testing.F) {
	for _, s := range []string{"<p>a</p>", "<!-- -- > --->", "<![CDATA[x]]>", "<script>x</script><style >y</style>", "&amp;&#x41;&", "<blockquote><a b='>'></blockquote>", "<"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if out := htmlText(in); len(out) > 2*len(in)+8 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}
