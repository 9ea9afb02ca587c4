package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestDecodeHeader(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"folded\r\n text", "folded text"},
		{"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"},
		{"=?UTF-8?B?R3LDvMOfZQ==?= to =?iso-8859-1?Q?J=F6rg_M?=", "Grüße to Jörg M"},
		{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?a?=\r\n =?utf-8?q?b?= c", "ab c"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"}, // a character in two words
		{"=?utf-8?q?=C3?= =?iso-8859-1?q?=FC?=", "Ãü"},
		{"a=?utf-8?q?b?=c", "abc"},
		{"=?utf-8?q?with space?=", "with space"},
		{"=?utf-8?q??=", ""},
		{"=?utf-8?x?abc?=", "=?utf-8?x?abc?="},
		{"=?utf-8?q?abc", "=?utf-8?q?abc"},
		{"=?=?utf-8?q?abc?=", "=?abc"},
		{"=??q?abc?=", "=??q?abc?="},
		{"=?utf-8*de?q?=C3=BC?=", "ü"},
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?no-such-charset?q?=C3=BC?=", "ü"},
		{"=?utf-8?q?bad=ZZ=4?=", "bad=ZZ=4"},
		{"=?utf-8?b?!!R3LDvMOfZQ?=", "Grüße"},
		{"Gr\xfc\xdfe", "Grüße"},
		{"Grüße", "Grüße"},
		{"n\x00ul", "n\uFFFDul"},
	} {
		if got := DecodeHeader([]byte(tt.in)); got != tt.want {
			t.Errorf("DecodeHeader(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParam(t *testing.T) {
	text, _ := mailNamed(t, "rfc2231")
	p := mustScan(t, text)
	for _, tt := range []struct {
		params [][2]string
		name   string
		want   string
		ok     bool
	}{
		{p.Params, "NAME", "€.pdf", true},
		{p.Params, "a", "xy", true},
		{p.Params, "b", "ä50%", true},
		{p.Params, "c", "earlylate", true},
		{p.Params, "none", "", false},
		{p.DispositionParams, "filename", "long name.pdf", true},
		{[][2]string{{"name", "=?utf-8?q?=C3=BC?="}}, "name", "ü", true},
		{[][2]string{{"name*", "nothing"}}, "name", "nothing", true},
		{[][2]string{{"name*", "utf-8'%zz%4"}}, "name", "utf-8'%zz%4", true},
	} {
		if got, ok := Param(tt.params, tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("Param(%q, %q) = %q, %v; want %q, %v", tt.params, tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTransferDecode(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4096)
	for _, tt := range []struct {
		encoding, in, exact, lenient string
		err                          bool // of exact decoding
	}{
		{"", "a\r\n\x00", "a\r\n\x00", "a\r\n\x00", false},
		{"8BIT", "\xff", "\xff", "\xff", false},
		{"base64", "", "", "", false},
		{"Base64 ", "YWJj\r\nZGU=\r\n", "abcde", "abcde", false},
		{"base64", "Y W\tJ\r\nj", "abc", "abc", false},
		{"base64", "YWJjZA==\r\nYWJj", "abcd", "abcdabc", true},
		{"base64", "YWI", "", "ab", true},
		{"base64", "YW!Jj", "", "abc", true},
		{"base64", "=YWJj", "", "abc", true},
		{"base64", "YWJjYQ=", "abc", "abca", true},
		{"base64", "AP8A", "\x00\xff\x00", "\x00\xff\x00", false},
		{"base64", strings.Repeat("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm\r\n", 4096/3*3/3), "", "", false},
		{"quoted-printable", "a=C3=BC=\r\nb=3d \t\r\nc", "a\xc3\xbcb=\r\nc", "a\xc3\xbcb=\r\nc", false},
		{"quoted-printable", "soft=  \r\nbreak=", "softbreak", "softbreak", false},
		{"quoted-printable", "trailing   ", "trailing", "trailing", false},
		{"quoted-printable", "in  side", "in  side", "in  side", false},
		{"quoted-printable", "bad=XYz", "bad", "bad=XYz", true},
		{"quoted-printable", "bad= x", "bad", "bad= x", true},
		{"quoted-printable", "=c3=A4", "\xc3\xa4", "\xc3\xa4", false},
		{"quoted-printable", long, long, long, false},
	} {
		name := fmt.Sprintf("%s %.20q", tt.encoding, tt.in)
		if strings.HasPrefix(tt.in, "MDEy") {
			n := strings.Count(tt.in, "\r\n") * 48
			tt.exact = long[:0] + strings.Repeat("0123456789abcdef", n/16)
			tt.lenient = tt.exact
		}
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
			r, ok := TransferDecode(wrap(strings.NewReader(tt.in)), tt.encoding)
			if !ok {
				t.Fatalf("%s: unknown", name)
			}
			got, err := io.ReadAll(r)
			if string(got) != tt.exact || errors.Is(err, ErrEncoding) != tt.err || err != nil && !tt.err {
				t.Errorf("%s: %.60q, %v; want %.60q, error %v", name, got, err, tt.exact, tt.err)
			}
			r, _ = transferDecode(wrap(strings.NewReader(tt.in)), tt.encoding, true)
			if got, err := io.ReadAll(r); string(got) != tt.lenient || err != nil {
				t.Errorf("%s: leniently %.60q, %v; want %.60q", name, got, err, tt.lenient)
			}
		}
	}
	for _, unknown := range []string{"x-uuencode", "base 64", "x"} {
		if _, ok := TransferDecode(nil, unknown); ok {
			t.Errorf("%q is known", unknown)
		}
	}
	failed := errors.New("disk")
	for _, enc := range []string{"", "base64", "quoted-printable"} {
		r, _ := TransferDecode(io.MultiReader(strings.NewReader("YQ=="), iotest.ErrReader(failed)), enc)
		if _, err := io.ReadAll(r); !errors.Is(err, failed) {
			t.Errorf("%s: error %v, want %v", enc, err, failed)
		}
	}
}

func TestDecodeText(t *testing.T) {
	for _, tt := range []struct{ in, encoding, charset, want string }{
		{"R3LDvMOfZQ==", "base64", "utf-8", "Grüße"},
		{"Gr=FC=DFe", "quoted-printable", "iso-8859-1", "Grüße"},
		{"Gr\xfc\xdfe", "", "", "Grüße"},
		{"Gr\xfc\xdfe", "", "us-ascii", "Grüße"},
		{"Grüße \xff", "", "utf-8", "Grüße ÿ"},
		{"cut \xc3", "", "utf-8", "cut Ã"},
		{"\x93x\x94", "", "windows-1252", "“x”"},
		{"text", "x-uuencode", "no-such", "text"},
		{"\x1b$BF|K\\\x1b(B", "7bit", "ISO-2022-JP", "日本"},
	} {
		got, err := io.ReadAll(DecodeText(iotest.OneByteReader(strings.NewReader(tt.in)), tt.encoding, tt.charset))
		if string(got) != tt.want || err != nil {
			t.Errorf("DecodeText(%q, %q, %q) = %q, %v; want %q", tt.in, tt.encoding, tt.charset, got, err, tt.want)
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for _, s := range []string{"", "=?utf-8?q?a?= =?utf-8?b?YQ==?=", "=?=?=?", "=?a?Q?x=?a?Q?x", "Gr\xfc\xdfe", "a\r\n b", "=?iso-2022-jp?b?GyRC?="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := DecodeHeader(raw)
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		if len(got) > 4*len(raw)+16 {
			t.Fatalf("%d bytes became %d", len(raw), len(got))
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	f.Add([]byte("R3LDvMOfZQ=="), "base64", "utf-8")
	f.Add([]byte("Gr=FC=DFe= \r\n"), "quoted-printable", "iso-8859-1")
	f.Add([]byte("\x1b$BF|K\\"), "7bit", "iso-2022-jp")
	f.Fuzz(func(t *testing.T, text []byte, encoding, charset string) {
		got, err := io.ReadAll(DecodeText(bytes.NewReader(text), encoding, charset))
		if err != nil || !utf8.Valid(got) {
			t.Fatalf("%q, %v", got, err)
		}
		strict, ok := TransferDecode(bytes.NewReader(text), encoding)
		if !ok {
			return
		}
		if _, err := io.ReadAll(strict); err != nil && !errors.Is(err, ErrEncoding) {
			t.Fatalf("error %v", err)
		}
	})
}

func BenchmarkDecodeHeader(b *testing.B) {
	for name, unit := range map[string]string{"words": "=?utf-8?q?abc?= ", "starts": "=?a?Q?x", "bare": "=?"} {
		for _, n := range []int{1 << 16, 1 << 18} {
			raw := []byte(strings.Repeat(unit, n/len(unit)))
			b.Run(fmt.Sprintf("%s/%dKiB", name, n>>10), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					DecodeHeader(raw)
				}
			})
		}
	}
}
