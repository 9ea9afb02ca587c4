package mailbox

import (
	"fmt"
	"slices"
	"strings"
)

// SystemFlags is a set of IMAP system flags, with the bits of Dovecot's index.
type SystemFlags uint8

// The system flags of RFC 9051 section 2.3.2. Recent is not stored: it says that
// no session has seen the message yet.
const (
	Answered SystemFlags = 1 << iota
	Flagged
	Deleted
	Seen
	Draft
	Recent
)

var systemNames = []struct {
	flag SystemFlags
	name string
}{
	{Answered, `\Answered`}, {Flagged, `\Flagged`}, {Deleted, `\Deleted`},
	{Seen, `\Seen`}, {Draft, `\Draft`}, {Recent, `\Recent`},
}

// Flags are the flags of one message. Keywords are unique without regard to case
// and sorted; they must not be changed in place, for views share them.
type Flags struct {
	System   SystemFlags
	Keywords []string
}

// ParseFlags splits IMAP flag names into system flags and keywords. An unknown name
// that begins with a backslash is left out.
func ParseFlags(names []string) Flags {
	var f Flags
next:
	for _, n := range names {
		if strings.HasPrefix(n, `\`) {
			for _, s := range systemNames {
				if strings.EqualFold(n, s.name) {
					f.System |= s.flag
					continue next
				}
			}
			continue
		}
		f.Keywords = append(f.Keywords, n)
	}
	f.Keywords = normalKeywords(f.Keywords)
	return f
}

// Names returns the IMAP names, system flags first.
func (f Flags) Names() []string {
	names := make([]string, 0, 4+len(f.Keywords))
	for _, s := range systemNames {
		if f.System&s.flag != 0 {
			names = append(names, s.name)
		}
	}
	return append(names, f.Keywords...)
}

// HasKeyword reports whether a keyword is set, without regard to case.
func (f Flags) HasKeyword(name string) bool {
	return slices.ContainsFunc(f.Keywords, func(k string) bool { return strings.EqualFold(k, name) })
}

// Equal reports whether two sets are the same; keywords compare without case.
func (f Flags) Equal(g Flags) bool {
	return f.System == g.System && slices.EqualFunc(f.Keywords, g.Keywords, strings.EqualFold)
}

// A FlagOp says what a FlagChange does with its flags.
type FlagOp int

const (
	AddFlags FlagOp = iota
	RemoveFlags
	ReplaceFlags
)

// A FlagChange is one STORE.
type FlagChange struct {
	Op    FlagOp
	Flags Flags
	// UnchangedSince, unless nil, makes the change conditional: a message whose modseq is
	// above it stays as it is (RFC 7162 section 3.1.3). Apply does not look at it.
	UnchangedSince *ModSeq
}

// Refused reports whether the condition of a change keeps it from a message.
func (c FlagChange) Refused(m *Message) bool {
	return c.UnchangedSince != nil && m.ModSeq > *c.UnchangedSince
}

// Apply returns f after the change. Recent is never changed.
func (c FlagChange) Apply(f Flags) Flags {
	sys := c.Flags.System &^ Recent
	switch c.Op {
	case AddFlags:
		return Flags{f.System | sys, normalKeywords(append(slices.Clone(f.Keywords), c.Flags.Keywords...))}
	case RemoveFlags:
		kept := slices.DeleteFunc(slices.Clone(f.Keywords), c.Flags.HasKeyword)
		return Flags{f.System &^ sys, kept}
	default:
		return Flags{f.System&Recent | sys, normalKeywords(slices.Clone(c.Flags.Keywords))}
	}
}

// normalKeywords sorts in place and drops doubles; the first spelling stays.
func normalKeywords(k []string) []string {
	if len(k) < 2 {
		return k
	}
	slices.SortStableFunc(k, func(a, b string) int {
		return strings.Compare(strings.ToLower(a), strings.ToLower(b))
	})
	return slices.CompactFunc(k, strings.EqualFold)
}

// MaxKeyword is the longest keyword that CheckKeyword lets pass, in bytes.
const MaxKeyword = 255

// CheckKeyword refuses what IMAP cannot say as a keyword and stores cannot hold: spaces,
// control characters, or too much. The error wraps ErrName, or ErrLimit where only the
// length is wrong.
func CheckKeyword(name string) error {
	if len(name) > MaxKeyword {
		return fmt.Errorf("%w: keyword of %d bytes", ErrLimit, len(name))
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: keyword with spaces or control characters", ErrName)
	}
	return nil
}
