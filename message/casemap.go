package message

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Casemap returns the form of a text by which i;unicode-casemap compares it (RFC 5051
// section 2): each character in title case, then decomposed. The octets of two such
// forms are compared. It is the collation of SORT and THREAD (RFC 5256 section 2).
func Casemap(text string) string {
	title := make([]byte, 0, len(text)+16)
	ascii := true
	for _, r := range text {
		if r < utf8.RuneSelf {
			if r >= 'a' && r <= 'z' {
				r -= 'a' - 'A'
			}
			title = append(title, byte(r))
			continue
		}
		ascii = false
		title = utf8.AppendRune(title, unicode.ToTitle(r))
	}
	if ascii {
		return string(title)
	}
	return string(norm.NFKD.Bytes(title))
}
