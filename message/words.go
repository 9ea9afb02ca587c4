package message

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// DecodeHeader returns a header value as UTF-8: unfolded, its encoded words (RFC 2047)
// decoded. It is lenient: a word may stand anywhere, be of any length and have spaces
// in it. The time is linear in the length of raw.
func DecodeHeader(raw []byte) string {
	v := []byte(unfold(raw))
	var (
		out     strings.Builder
		pending []byte // decoded bytes of adjacent words in one charset
		charset string
	)
	flush := func() {
		out.WriteString(toUTF8(pending, charset))
		pending = pending[:0]
	}
	plain := 0 // where the text begins that is in no word
	wordEnd := -1
	for i := 0; i < len(v); {
		at := bytes.Index(v[i:], []byte("=?"))
		if at < 0 {
			break
		}
		i += at
		w, ok := parseWord(v[i:])
		if !ok {
			i += 2
			continue
		}
		// Only look for the next terminator when the last one found is behind.
		if wordEnd < i+w.head {
			n := bytes.Index(v[i+w.head:], []byte("?="))
			if n < 0 {
				break // no word ends after this
			}
			wordEnd = i + w.head + n
		}
		// White space between two words is not shown.
		if between := v[plain:i]; len(pending) == 0 || len(bytes.TrimSpace(between)) > 0 {
			flush()
			out.WriteString(toUTF8(between, ""))
		} else if !strings.EqualFold(w.charset, charset) {
			flush()
		}
		charset = w.charset
		pending = w.decode(pending, v[i+w.head:wordEnd])
		i = wordEnd + 2
		plain = i
	}
	flush()
	out.WriteString(toUTF8(v[plain:], ""))
	return out.String()
}

// A word is the head of an encoded word: "=?" charset "?" encoding "?".
type word struct {
	charset string
	base64  bool
	head    int // bytes up to the encoded text
}

func parseWord(v []byte) (w word, ok bool) {
	n := bytes.IndexByte(v[2:min(len(v), 2+maxCharset+1)], '?')
	if n <= 0 || len(v) < 2+n+3 || v[2+n+2] != '?' {
		return w, false
	}
	w = word{charset: string(v[2 : 2+n]), head: 2 + n + 3}
	switch v[2+n+1] {
	case 'b', 'B':
		w.base64 = true
	case 'q', 'Q':
	default:
		return w, false
	}
	return w, !strings.ContainsAny(w.charset, " \t=<>@,;:\"")
}

// decode appends the bytes of the encoded text; what is not valid is left out.
func (w word) decode(dst, text []byte) []byte {
	if w.base64 {
		clean := make([]byte, 0, len(text))
		for _, c := range text {
			if isBase64(c) {
				clean = append(clean, c)
			}
		}
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		dst, _ = base64.RawStdEncoding.AppendDecode(dst, clean)
		return dst
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			dst = append(dst, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
