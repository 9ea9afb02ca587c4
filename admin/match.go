package admin

import "strings"

// match reports whether a mailbox name matches a pattern of IMAP's LIST: * stands for
// anything, % for anything without the separator. INBOX is itself in any case.
func match(pattern, name string, separator byte) bool {
	if strings.EqualFold(name, "INBOX") && strings.EqualFold(pattern, "INBOX") {
		return true
	}
	// at[j] says that the pattern so far matches the first j octets of name.
	at := make([]bool, len(name)+1)
	at[0] = true
	for i := range len(pattern) {
		c := pattern[i]
		next := make([]bool, len(name)+1)
		for j := range at {
			switch {
			case c == '*' || c == '%':
				next[j] = at[j] || j > 0 && next[j-1] && (c == '*' || name[j-1] != separator)
			case j > 0:
				next[j] = at[j-1] && name[j-1] == c
			}
		}
		at = next
	}
	return at[len(name)]
}

func matchAny(patterns []string, name string, separator byte) bool {
	for _, p := range patterns {
		if match(p, name, separator) {
			return true
		}
	}
	return false
}
