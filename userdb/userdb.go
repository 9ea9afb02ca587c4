// Package userdb answers who a user is: whether a password is right, where the home is,
// and which settings are the user's own.
//
// The one database so far is Dovecot's passwd-file, one user a line:
//
//	name ":" password ":" uid ":" gid ":" gecos ":" home ":" shell ":" extra fields
//
// The last field runs to the end of the line and may hold colons. Extra fields are
// separated by spaces and not quoted; NAME=VALUE and NAME, which stands for NAME=yes. A
// prefix "userdb_" is dropped and makes the field win over one without. The fields home,
// uid and gid win over the columns. Empty lines and lines beginning with "#" or ":" are no
// users; of two lines with one name the first counts; the last line needs no line end.
// (Dovecot: db-passwd-file.c; each rule tried with 2.3.19.1.)
//
// The password is {SCHEME}hash, see [Verify]; without a scheme it is a crypt(3) hash.
// Values of extra fields are templates, see [Expand].
package userdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

var (
	// ErrNoUser reports a name that the database does not have.
	ErrNoUser = errors.New("userdb: no such user")
	// ErrAuth reports a login that was refused, for a wrong password or an unknown user,
	// which take equally long.
	ErrAuth = errors.New("userdb: authentication failed")
	// ErrName reports a name that no user may have.
	ErrName = errors.New("userdb: invalid user name")
	// ErrExists reports that Add found the user.
	ErrExists = errors.New("userdb: user exists")
	// ErrClosed reports the use of a database after Close.
	ErrClosed = errors.New("userdb: closed")
)

// A DB is a database of users. All methods may be called concurrently.
type DB interface {
	// Lookup returns a user, or an error wrapping ErrNoUser.
	Lookup(ctx context.Context, name string) (*User, error)
	// Authenticate returns the user whose password this is, or an error wrapping ErrAuth.
	// An unknown user is that too, and costs as much time.
	Authenticate(ctx context.Context, name string, password []byte) (*User, error)
	// Users yields every user, and an error for each that cannot be used.
	Users(ctx context.Context) iter.Seq2[*User, error]
}

// A User is what a database says about one user. The map is the caller's own.
type User struct {
	// Name is the login name as normalised by the username format.
	Name string
	// Home is the home directory, "" if the database gives none.
	Home string
	// UID and GID are those of the user's files, -1 if the database gives none.
	UID, GID int
	// Fields are the extra fields without the prefix "userdb_". Their values are
	// templates, not yet expanded: what needs a password is expanded where there is one.
	Fields map[string]string
}

// A LineError reports a line of a passwd-file that cannot be used. Only that line's user is
// affected.
type LineError struct {
	File   string
	Line   int // from 1
	User   string
	Reason string // without any secret
}

func (e *LineError) Error() string {
	return fmt.Sprintf("userdb: %s line %d, user %q: %s", e.File, e.Line, e.User, e.Reason)
}

// DefaultUsernameChars are the characters of a name that Dovecot allows by default
// (auth_username_chars).
const DefaultUsernameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"

// maxName is how long a name may be: that of a directory.
const maxName = 255

// CheckName returns an error wrapping ErrName unless name is made of the given characters
// ("" means DefaultUsernameChars) and is safe as part of a path: no empty or "." part
// around an "@", and no "..", "/", ":" or control character whatever chars allows.
func CheckName(name, chars string) error {
	if chars == "" {
		chars = DefaultUsernameChars
	}
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > maxName:
		return fmt.Errorf("%w: %d bytes", ErrName, len(name))
	case strings.Contains(name, ".."):
		return fmt.Errorf("%w: two dots in a row", ErrName)
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == 0x7f || c == '/' || c == ':' || strings.IndexByte(chars, c) < 0 {
			return fmt.Errorf("%w: character %q at %d", ErrName, c, i)
		}
	}
	for part := range strings.SplitSeq(name, "@") {
		if part == "" || part == "." {
			return fmt.Errorf("%w: part %q", ErrName, part)
		}
	}
	return nil
}
