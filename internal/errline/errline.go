// Package errline makes errors lines for administrators. Errors of this program are written for
// those who mend it: each layer names itself and what it was doing. Who runs it wants to know
// what is wrong, and with which user, file or key.
package errline

import (
	"regexp"
	"slices"
	"strings"
)

// layers are what our packages put before their errors, for programmers; an administrator
// asks what is wrong, and with which file or key.
var layers = []string{"account", "admin", "attrdict", "compress", "config", "dcrypt", "dovecotconf", "durable", "filecrypt", "index", "inspect", "keycheck", "keys",
	"maildir", "mailbox", "mdbox", "storage", "userdb",
	"temporary failure", "temporarily unavailable", "corrupt dictionary", "damaged database file", "there is something else", "locked"}

// calls are the system's calls as Go names them, each with the file that it was about.
var calls = regexp.MustCompile(`^(?:open|openat|read|write|mkdir|mkdirat|rename|link|unlinkat|unlink|remove|stat|lstat|fstatat|statfs|sync|fsync|truncate|chmod|chown|fchmodat|fallocate|readdirent|fdopendir) (/.*|\S+)$`)

// sameAs are errors of the system that say again what one of our kinds has said.
var sameAs = map[string]string{
	"no space left on device": "the disk is full",
	"disk quota exceeded":     "the disk is full",
	"read-only file system":   "the disk is read-only",
	"permission denied":       "no permission",
}

// Text makes an error's text a line for people: which layer said it is left out, and what is
// said twice. Errors that were joined stand behind one another. Control characters are left
// to the caller.
func Text(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = lineText(strings.TrimSuffix(line, "\n")); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func lineText(line string) string {
	parts := strings.Split(line, ": ")
	kept := parts[:0:0]
	for i, p := range parts {
		last := i == len(parts)-1
		if m := calls.FindStringSubmatch(p); m != nil {
			p = m[1]
		}
		said := func(s string) bool { return strings.Contains(s, p) }
		switch {
		case !last && slices.Contains(layers, p), p == "":
		case slices.ContainsFunc(kept, said): // the file, mostly
		case !last && slices.ContainsFunc(parts[i+1:], func(s string) bool { return strings.HasPrefix(s, p) || len(p) > 8 && strings.HasSuffix(s, p) }):
		case slices.Contains(kept, sameAs[p]) && sameAs[p] != "":
		default:
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ": ")
}
