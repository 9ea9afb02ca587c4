// Package metadata keeps annotations of mailboxes and of the server (RFC 5464) in a user's
// dictionary of attributes, under Dovecot's names, so that Dovecot reads ours and we its:
//
//	/private/comment of a mailbox        priv/<guid>/comment
//	/shared/vendor/x/y of a mailbox      shared/<guid>/vendor/x/y
//	/private/comment of the server       priv/<inbox>/vendor/vendor.dovecot/pvt/server/comment
//
// guid is the mailbox's, inbox that of INBOX. Names are kept in lower case. A mailbox that
// is renamed keeps its annotations, for they hang on its GUID.
//
// The same dictionary holds the user's keys, under vendor/vendor.dovecot/pvt of mailboxes
// and, once more, of the server. What is there cannot be named here at all: it is not
// read, written, listed or counted, whatever the spelling.
//
// Dovecot: imap-metadata.c, index-attribute.c, mailbox-attribute.h.
package metadata

import (
	"errors"
	"fmt"
	"strings"
)

// ErrEntry reports an entry name that RFC 5464 section 4.1 does not allow.
var ErrEntry = errors.New("metadata: bad entry name")

// maxEntry is the longest entry name, in bytes.
const maxEntry = 1000

// An Entry is the name of an annotation.
type Entry struct {
	shared bool
	key    string // in lower case, without the first component; "" for that alone
}

// Entries whose value is not stored here: the role of a mailbox (RFC 6154 section 5), and
// what an administrator says of the server (RFC 5464 section 6.2.1).
var (
	SpecialUse    = Entry{key: "specialuse"}
	ServerComment = Entry{shared: true, key: "comment"}
	ServerAdmin   = Entry{shared: true, key: "admin"}
)

// ParseEntry reads an entry name such as /private/comment, in any case. The error wraps
// ErrEntry and its text is fit for clients.
func ParseEntry(name string) (Entry, error) {
	reason := check(name)
	if reason != "" {
		return Entry{}, fmt.Errorf("%w: %s", ErrEntry, reason)
	}
	scope, key, _ := strings.Cut(lower(name[1:]), "/")
	return Entry{scope == "shared", key}, nil
}

// check returns what is wrong with an entry name, or "".
func check(name string) string {
	if len(name) > maxEntry {
		return "it is too long"
	}
	if !strings.HasPrefix(name, "/") {
		return "it must begin with /private or /shared"
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == '*' || c == '%':
			return "it can't contain * or %"
		case c < ' ' || c >= 0x7f:
			return "it can't contain anything but printable ASCII"
		}
	}
	parts := strings.Split(lower(name[1:]), "/")
	for _, p := range parts {
		switch p {
		case "":
			return "it can't contain // or end in /"
		case ".", "..":
			return "it can't contain . or .. as a component"
		}
	}
	if parts[0] != "private" && parts[0] != "shared" {
		return "it must begin with /private or /shared"
	}
	return ""
}

// lower turns ASCII letters, and nothing else, into lower case.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// String is the name, in lower case.
func (e Entry) String() string {
	s := "/private"
	if e.shared {
		s = "/shared"
	}
	if e.key != "" {
		s += "/" + e.key
	}
	return s
}

// Shared reports whether all users who have the mailbox see the entry.
func (e Entry) Shared() bool { return e.shared }

// Root reports whether the entry is /private or /shared alone, which hold no value.
func (e Entry) Root() bool { return e.key == "" }

const (
	pvt       = "vendor/vendor.dovecot/pvt"
	pvtServer = pvt + "/server/"
)

// internal reports whether a key is Dovecot's own, or ours, and no client's.
func internal(key string) bool {
	key = lower(key)
	return key == pvt || strings.HasPrefix(key, pvt+"/")
}
