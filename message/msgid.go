package message

import (
	"bytes"
	"iter"
	"strings"
)

const (
	// maxMessageID is the longest Message-ID that is taken for one: a line of mail has
	// at most 998 octets (RFC 5322 section 2.1.1).
	maxMessageID = 1000
	// maxBrokenIDs bounds how many identifiers are looked at again, word by word.
	maxBrokenIDs = 100
)

// MessageIDs yields the message identifiers of a Message-ID, In-Reply-To or References
// field's value, without their angle brackets. They are normalised as RFC 5256 section
// 3 wants it, so that they can be compared by their octets: white space and comments are
// out, and quotes of a local part. What is not an identifier is skipped.
func MessageIDs(value []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		broken := 0
		for {
			i := bytes.IndexByte(value, '<')
			if i < 0 {
				return
			}
			value = value[i+1:]
			end := bytes.IndexAny(value, `>"(`)
			if end < 0 {
				return
			}
			var id string
			var rest []byte
			if value[end] == '>' {
				id, rest = plainID(value[:end]), value[end+1:]
			} else {
				if broken++; broken > maxBrokenIDs {
					return
				}
				id, rest = brokenID(value)
			}
			value = rest
			if id != "" && !yield(id) {
				return
			}
		}
	}
}

// plainID normalises an identifier without quotes and comments.
func plainID(id []byte) string {
	if len(id) > maxMessageID || bytes.IndexByte(id, '@') < 0 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, string(id))
}

// brokenID parses id-left "@" id-right ">" (RFC 5322 section 3.6.4). Where that is not
// there, nothing of value is consumed.
func brokenID(value []byte) (id string, rest []byte) {
	l := lexer{b: value[:min(len(value), maxMessageID)]}
	if l.space() != more {
		return "", value
	}
	var word []byte
	var st state
	if l.b[0] == '"' {
		word, st = l.quoted(nil)
	} else {
		word, st = l.dotAtom(nil)
	}
	if st != more || l.b[0] != '@' {
		return "", value
	}
	word = append(word, '@')
	if word, st = l.domain(word); st != more || l.b[0] != '>' {
		return "", value
	}
	used := min(len(value), maxMessageID) - len(l.b)
	return string(word), value[used+1:]
}
