package maildir

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcrypt/storage/control"
)

// A Layout is the way in which folders become directories.
type Layout string

const (
	// PlusPlus is Maildir++: the folder A.B is the directory .A.B of the root.
	PlusPlus Layout = "maildir++"
	// FS nests directories: A/B.
	FS Layout = "fs"
)

// separator is what joins the levels of a folder's name on disk.
func (l Layout) separator() byte {
	if l == FS {
		return '/'
	}
	return '.'
}

// A Location says where one user's mail is and how it is laid out: what Dovecot's
// mail_location says. Two programs on one Maildir must agree on it, or they give
// different UIDs to the same file.
type Location struct {
	Root    string // absolute path
	Layout  Layout // "" means PlusPlus
	Control string // root of the tree of uidlists, keywords and subscriptions; "" means Root
	Index   string // directory of our index; "" means Root, "MEMORY" means none
	Inbox   string // directory of INBOX, where it is not the root
	// DirName is the directory below each folder's that holds cur, new and tmp; FS only.
	DirName string
	// Subscriptions is the name of the file with the subscribed names; "" means
	// "subscriptions".
	Subscriptions string
	// UTF8 says that names on disk are UTF-8 instead of modified UTF-7.
	UTF8 bool
	// DropParents removes parents that are no folders themselves when they become empty
	// (Dovecot's NO-NOSELECT); FS only.
	DropParents bool
}

// ErrLocation reports a location that cannot be understood.
var ErrLocation = control.ErrLocation

// ParseLocation reads a location in Dovecot's form, such as
// "maildir:~/Maildir:INDEX=/ix:LAYOUT=fs". home replaces a leading "~"; variables must
// have been expanded. "::" stands for a colon. Parts that matter only to Dovecot's own
// index files are accepted and ignored; parts that would change what is stored and are not
// supported, and unknown ones, are refused with an error that wraps ErrLocation.
func ParseLocation(setting, home string) (Location, error) {
	parsed, err := control.ParseLocation(setting, home)
	if err != nil {
		return Location{}, err
	}
	if parsed.Driver != "maildir" {
		return Location{}, fmt.Errorf("%w: %q does not begin with \"maildir:\"", ErrLocation, setting)
	}
	l := Location{Root: parsed.Root, Layout: PlusPlus}
	for _, p := range parsed.Parts {
		if err := l.set(p, parsed.Path); err != nil {
			return Location{}, err
		}
	}
	return l, l.check()
}

func (l *Location) set(p control.Part, path func(string) (string, error)) (err error) {
	value := p.Value
	switch p.Key {
	case "INDEX":
		if value == "MEMORY" {
			l.Index = value
			return nil
		}
		l.Index, err = path(value)
	case "CONTROL":
		l.Control, err = path(value)
	case "INBOX":
		l.Inbox, err = path(value)
	case "LAYOUT":
		switch Layout(strings.ToLower(value)) {
		case PlusPlus:
			l.Layout = PlusPlus
		case FS:
			l.Layout = FS
		default:
			return fmt.Errorf("%w: LAYOUT=%s: only maildir++ and fs are supported", ErrLocation, value)
		}
	case "DIRNAME":
		l.DirName = value
	case "SUBSCRIPTIONS":
		l.Subscriptions = value
	case "UTF-8":
		l.UTF8 = true
	case "NO-NOSELECT":
		l.DropParents = true
	case "INDEXCACHE", "LISTINDEX", "ITERINDEX", "VOLATILEDIR":
		// These concern files that only Dovecot reads and writes.
	case "INDEXPVT", "ALT", "FULLDIRNAME", "MAILBOXDIR", "BROKENCHAR", "AUTOCREATE", "SUBSCRIPTIONSDIR":
		return fmt.Errorf("%w: %s is not supported", ErrLocation, p.Key)
	default:
		return fmt.Errorf("%w: unknown part %q", ErrLocation, p.Key)
	}
	return err
}

// check fills in defaults and finds contradictions.
func (l *Location) check() error {
	if l.Layout == "" {
		l.Layout = PlusPlus
	}
	switch {
	case l.Layout != PlusPlus && l.Layout != FS:
		return fmt.Errorf("%w: unknown layout %q", ErrLocation, l.Layout)
	case !filepath.IsAbs(l.Root):
		return fmt.Errorf("%w: root %q is not an absolute path", ErrLocation, l.Root)
	case l.DirName != "" && l.Layout != FS:
		return fmt.Errorf("%w: DIRNAME needs LAYOUT=fs", ErrLocation)
	case l.DirName != "" && !control.PlainName(l.DirName):
		return fmt.Errorf("%w: DIRNAME=%s: not a plain file name", ErrLocation, l.DirName)
	case l.Subscriptions != "" && !control.PlainName(l.Subscriptions):
		return fmt.Errorf("%w: SUBSCRIPTIONS=%s: not a plain file name", ErrLocation, l.Subscriptions)
	}
	for _, p := range []string{l.Control, l.Inbox} {
		if p != "" && !filepath.IsAbs(p) {
			return fmt.Errorf("%w: %q is not an absolute path", ErrLocation, p)
		}
	}
	if l.Index != "" && l.Index != "MEMORY" && !filepath.IsAbs(l.Index) {
		return fmt.Errorf("%w: %q is not an absolute path", ErrLocation, l.Index)
	}
	return nil
}
