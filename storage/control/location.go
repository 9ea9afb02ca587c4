package control

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrLocation reports a mail_location that cannot be understood.
var ErrLocation = errors.New("control: mail location")

// A Location is a mail_location in its parts.
type Location struct {
	Driver string
	Root   string // absolute
	Parts  []Part
	home   string
}

// A Part is one of the parts behind the root, such as INDEX=/ix; Value is empty where there
// is none.
type Part struct{ Key, Value string }

// ParseLocation takes a location in Dovecot's form apart, such as
// "maildir:~/Maildir:INDEX=/ix:LAYOUT=fs". home replaces a leading "~"; variables must have
// been expanded. "::" stands for a colon. The error wraps ErrLocation.
func ParseLocation(setting, home string) (Location, error) {
	driver, rest, ok := strings.Cut(setting, ":")
	if !ok {
		return Location{}, fmt.Errorf("%w: %q does not begin with a driver such as \"maildir:\"", ErrLocation, setting)
	}
	parts := splitColons(rest)
	l := Location{Driver: driver, home: home}
	var err error
	if l.Root, err = l.Path(parts[0]); err != nil {
		return Location{}, err
	}
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		l.Parts = append(l.Parts, Part{key, value})
	}
	return l, nil
}

// Path makes the value of a part a clean absolute path, "~" being the home.
func (l Location) Path(path string) (string, error) {
	if path == "~" || strings.HasPrefix(path, "~/") {
		if l.home == "" {
			return "", fmt.Errorf("%w: %q needs a home directory", ErrLocation, path)
		}
		path = filepath.Join(l.home, path[1:])
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%w: %q is not an absolute path", ErrLocation, path)
	}
	return filepath.Clean(path), nil
}

// PlainName reports whether a value is the name of a file without directories.
func PlainName(s string) bool { return s == filepath.Base(s) && s != "." && s != ".." && s != "/" }

// splitColons splits at single colons.
func splitColons(s string) []string {
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		last := len(parts) - 1
		switch {
		case s[i] != ':':
			parts[last] += s[i : i+1]
		case i+1 < len(s) && s[i+1] == ':':
			parts[last] += ":"
			i++
		default:
			parts = append(parts, "")
		}
	}
	return parts
}
