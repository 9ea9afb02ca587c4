package acceptance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A near message is one in a client's own Maildir.
type near struct {
	path  string
	flags string
	text  string
}

// named is the message's path in another directory of its Maildir, with other flags.
func (n near) named(sub, flags string) string {
	base, _, _ := strings.Cut(filepath.Base(n.path), ":2,")
	return filepath.Join(filepath.Dir(filepath.Dir(n.path)), sub, base+":2,"+flags)
}

// maildir reads a client's own Maildir, by subject.
func (b *box) maildir(dir string) map[string]near {
	b.t.Helper()
	m := map[string]near{}
	for _, sub := range []string{"cur", "new"} {
		files, _ := filepath.Glob(filepath.Join(b.tmp, dir, sub, "[0-9]*"))
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				b.t.Fatal(err)
			}
			_, flags, _ := strings.Cut(filepath.Base(path), ":2,")
			m[subjectOf([]byte(strings.ReplaceAll(string(text), "\n", "\r\n")))] = near{path, flags, string(text)}
		}
	}
	return m
}

// withoutLine takes out the header line by which a client knows its messages again.
func withoutLine(message, prefix string) string {
	lines := strings.SplitAfter(message, "\n")
	lines = slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, prefix) })
	return strings.Join(lines, "")
}
