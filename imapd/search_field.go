package imapd

import (
	"bytes"
	"strings"

	"mailcrypt/message"
)

// A fieldSearch looks for texts in header fields. Its buffer serves all messages of a search.
type fieldSearch struct{ folded []byte }

// wipe overwrites what the buffer holds.
func (s *fieldSearch) wipe() {
	clear(s.folded[:cap(s.folded)])
	s.folded = nil
}

// inHeader reports whether a field with the name of the key holds its text. What is compared
// is one line, as in Dovecot: SUBJECT sees single spaces, and FROM and the like see the
// addresses in one form, whatever comments and folds are between them. They find what is
// there as written, too: who pastes an address wants the message.
func (s *fieldSearch) inHeader(k *searchKey, head []byte) bool {
	for f := range message.FieldsNamed(head, k.field) {
		_, value, ok := bytes.Cut(f, []byte{':'})
		if !ok {
			continue
		}
		if k.needle == "" {
			return true
		}
		value = bytes.TrimSpace(value)
		if k.subject {
			value = bytes.Join(bytes.Fields(value), []byte{' '})
		}
		if isPlain(value) {
			s.folded = fold(s.folded[:0], value)
			if bytes.Contains(s.folded, k.find) {
				return true
			}
			if !k.address || !s.otherForm(k) {
				continue
			}
		} else if contains(message.DecodeHeader(spaceFolds(value)), k.needle) {
			return true
		}
		if k.address && contains(message.DecodeHeader([]byte(message.AddressText(value))), k.needle) {
			return true
		}
	}
	return false
}

// otherForm reports whether the addresses in the value that was folded last might hold the key's
// text in the one form that they are given, though they do not as written. That form takes
// comments, quotes and spaces away and adds others. It does not put letters beside each other
// that were apart, unless a character of those below was between them.
func (s *fieldSearch) otherForm(k *searchKey) bool {
	return len(k.run) == 0 || bytes.Contains(s.folded, k.run) || bytes.ContainsAny(s.folded, `\([`) || joinsQuoted(s.folded)
}

// joinsQuoted reports whether something stands beside a quoted string without a space.
func joinsQuoted(value []byte) bool {
	open := false
	for i, c := range value {
		if c != '"' {
			continue
		}
		beside := i - 1
		if open {
			beside = i + 1
		}
		if beside >= 0 && beside < len(value) && strings.IndexByte(" ,:;<", value[beside]) < 0 {
			return true
		}
		open = !open
	}
	return open
}

// addressRun is the longest run of letters and digits of a folded text; none where that may be part
// of what stands for missing parts of an address (MISSING_DOMAIN).
func addressRun(needle string) []byte {
	longest := ""
	for _, run := range strings.FieldsFunc(needle, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	if strings.Contains("MISSING_MAILBOX MISSING_DOMAIN SYNTAX_ERROR INVALID_ROUTE", longest) {
		return nil
	}
	return []byte(longest)
}

// isPlain reports whether a value is read as it is written: in one line of ASCII, without
// encoded words.
func isPlain(value []byte) bool {
	for i, c := range value {
		if c < ' ' && c != '\t' || c >= 0x7f || c == '=' && i+1 < len(value) && value[i+1] == '?' {
			return false
		}
	}
	return true
}

// spaceFolds makes the white space that a folded line begins with a space if it is a tab.
func spaceFolds(value []byte) []byte { return bytes.ReplaceAll(value, []byte("\n\t"), []byte("\n ")) }
