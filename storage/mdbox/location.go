package mdbox

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcrypt/storage/control"
)

// A Location says where one user's mail is: what Dovecot's mail_location says.
type Location struct {
	Root    string // absolute path
	Alt     string // root of the alternative storage; "" means none
	Index   string // the catalog is in its directory storage; "" means Root
	Control string // of subscriptions and UIDVALIDITY counters; "" means Root
	// Subscriptions is the name of the file with the subscribed names; "" means
	// "subscriptions".
	Subscriptions string
	// UTF8 says that names on disk are UTF-8 instead of modified UTF-7.
	UTF8 bool
}

// ErrLocation reports a location that cannot be understood.
var ErrLocation = control.ErrLocation

// ParseLocation reads a location in Dovecot's form, such as "mdbox:~/mdbox:ALT=/slow/mail". home
// replaces a leading "~"; variables must have been expanded. "::" stands for a colon. Parts
// that matter only to Dovecot's own index files are accepted and ignored; parts that would
// change what is stored and are not supported, and unknown ones, are refused with an error
// that wraps ErrLocation.
func ParseLocation(setting, home string) (Location, error) {
	parsed, err := control.ParseLocation(setting, home)
	if err != nil {
		return Location{}, err
	}
	if parsed.Driver != "mdbox" {
		return Location{}, fmt.Errorf("%w: %q does not begin with \"mdbox:\"", ErrLocation, setting)
	}
	l := Location{Root: parsed.Root}
	for _, p := range parsed.Parts {
		if err := l.set(p, parsed.Path); err != nil {
			return Location{}, err
		}
	}
	return l, l.check()
}

func (l *Location) set(p control.Part, path func(string) (string, error)) (err error) {
	switch p.Key {
	case "ALT":
		l.Alt, err = path(p.Value)
	case "INDEX":
		if p.Value == "MEMORY" {
			return fmt.Errorf("%w: INDEX=MEMORY: the catalog of an mdbox store says what is in it, and must be in a file", ErrLocation)
		}
		l.Index, err = path(p.Value)
	case "CONTROL":
		l.Control, err = path(p.Value)
	case "SUBSCRIPTIONS":
		l.Subscriptions = p.Value
	case "UTF-8":
		l.UTF8 = true
	case "LAYOUT":
		if !strings.EqualFold(p.Value, "fs") {
			return fmt.Errorf("%w: LAYOUT=%s: only fs is supported", ErrLocation, p.Value)
		}
	case "DIRNAME":
		if p.Value != mailsDir {
			return fmt.Errorf("%w: DIRNAME=%s: only %s is supported", ErrLocation, p.Value, mailsDir)
		}
	case "MAILBOXDIR":
		if p.Value != mailboxesDir {
			return fmt.Errorf("%w: MAILBOXDIR=%s: only %s is supported", ErrLocation, p.Value, mailboxesDir)
		}
	case "INDEXCACHE", "LISTINDEX", "ITERINDEX", "VOLATILEDIR", "NO-NOSELECT":
		// These concern files that only Dovecot reads and writes, or are what is done anyhow.
	case "INDEXPVT", "INBOX", "FULLDIRNAME", "BROKENCHAR", "AUTOCREATE", "SUBSCRIPTIONSDIR":
		return fmt.Errorf("%w: %s is not supported", ErrLocation, p.Key)
	default:
		return fmt.Errorf("%w: unknown part %q", ErrLocation, p.Key)
	}
	return err
}

// check finds contradictions.
func (l *Location) check() error {
	for i, p := range []string{l.Root, l.Alt, l.Index, l.Control} {
		if (p != "" || i == 0) && !filepath.IsAbs(p) {
			return fmt.Errorf("%w: %q is not an absolute path", ErrLocation, p)
		}
	}
	if l.Subscriptions != "" && !control.PlainName(l.Subscriptions) {
		return fmt.Errorf("%w: SUBSCRIPTIONS=%s: not a plain file name", ErrLocation, l.Subscriptions)
	}
	if l.Alt != "" && l.Alt == l.Root {
		return fmt.Errorf("%w: ALT=%s is the root itself", ErrLocation, l.Alt)
	}
	return nil
}

// roots are the directories under which all is the user's.
func (l *Location) roots() []string { return []string{l.Root, l.Alt, l.Index, l.Control} }

// indexDir is where the catalog is, and where Dovecot has its map index.
func (l *Location) indexDir() string {
	if l.Index != "" {
		return filepath.Join(l.Index, storageDir)
	}
	return filepath.Join(l.Root, storageDir)
}

// Directories of the root.
const (
	storageDir   = "storage"
	mailboxesDir = "mailboxes"
	mailsDir     = "dbox-Mails" // of every mailbox
	trashDir     = "..DOVECOT-TrasH"
)
