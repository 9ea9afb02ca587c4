package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// maxCharset is the longest name that is looked up.
const maxCharset = 64

// findCharset returns the decoder of a character set. US-ASCII, UTF-8 and unknown
// names get one that keeps UTF-8.
func findCharset(name string) transform.Transformer {
	name, _, _ = strings.Cut(name, "*") // RFC 2231 section 5: a language may follow
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return keepUTF8{}
	}
	if len(name) > maxCharset {
		return keepUTF8{}
	}
	var e encoding.Encoding
	if e, _ = ianaindex.MIME.Encoding(name); e == nil {
		if e, _ = htmlindex.Get(name); e == nil {
			return keepUTF8{}
		}
	}
	return e.NewDecoder()
}

// toUTF8 converts text; bytes that are not of the charset become U+FFFD.
func toUTF8(text []byte, charset string) string {
	out, _, err := transform.Bytes(findCharset(charset), text)
	if err != nil {
		out, _, _ = transform.Bytes(keepUTF8{}, text)
	}
	return string(out)
}

func utf8Reader(r io.Reader, charset string) io.Reader {
	return transform.NewReader(r, findCharset(charset))
}

// keepUTF8 keeps UTF-8 and reads every other byte as ISO 8859-1: mail that does not
// say what it is written in is one or the other.
type keepUTF8 struct{ transform.NopResetter }

func (keepUTF8) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, n := rune(src[nSrc]), 1
		if r >= utf8.RuneSelf {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if u, m := utf8.DecodeRune(src[nSrc:]); m > 1 {
				r, n = u, m
			}
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}
