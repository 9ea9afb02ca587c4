package imapd

import (
	"bytes"

	"mailcrypt/message"
)

// inHeader reports whether a field with the name of the key holds its text. What is compared
// is one line, as in Dovecot: SUBJECT sees single spaces, and FROM and the like see the
// addresses in one form, whatever comments and folds are between them. They find what is
// there as written, too: who pastes an address wants the message.
func (k *searchKey) inHeader(head []byte) bool {
	lines := message.HeaderFields(head, []string{k.field}, false)
	for len(lines) > 0 {
		end := fieldEnd(lines)
		f := lines[:end]
		lines = lines[end:]
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
		if contains(message.DecodeHeader(spaceFolds(value)), k.needle) ||
			k.address && contains(message.DecodeHeader([]byte(message.AddressText(value))), k.needle) {
			return true
		}
	}
	return false
}

// spaceFolds makes the white space that a folded line begins with a space if it is a tab.
func spaceFolds(value []byte) []byte { return bytes.ReplaceAll(value, []byte("\n\t"), []byte("\n ")) }
