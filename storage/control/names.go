package control

import (
	"fmt"
	"strings"

	"mailcrypt/mailbox"
)

// Names turns names of mailboxes, as clients know them, into storage names and back: levels
// in the encoding of the disk, joined by the layout's separator.
type Names struct {
	Separator byte // of names
	Layout    byte // of storage names
	UTF8      bool // names on disk are UTF-8 instead of modified UTF-7
	// Reserved are levels, as encoded, that mean something else on disk; nil are none.
	Reserved func(level string) bool
}

// Encode returns the storage name. The error wraps mailbox.ErrName or ErrLimit.
func (n Names) Encode(name string) (string, error) {
	if err := mailbox.CheckName(name, n.Separator); err != nil {
		return "", fmt.Errorf("control: name %.80q: %w", name, err)
	}
	parts := mailbox.SplitName(name, n.Separator)
	for i, p := range parts {
		enc := p
		if !n.UTF8 {
			enc = mailbox.EncodeUTF7(p)
		}
		if err := n.checkPart(enc); err != nil {
			return "", fmt.Errorf("control: name %.80q: %w", name, err)
		}
		parts[i] = enc
	}
	return mailbox.JoinName(parts, n.Layout), nil
}

// checkPart finds encoded levels that the layout cannot hold.
func (n Names) checkPart(enc string) error {
	switch {
	case len(enc) > mailbox.MaxPart-1: // Maildir++ adds a dot
		return fmt.Errorf("%w: level of %d bytes", mailbox.ErrLimit, len(enc))
	case strings.IndexByte(enc, n.Layout) >= 0:
		return fmt.Errorf("%w: %q cannot be in a level", mailbox.ErrName, n.Layout)
	case escaped(enc):
		return fmt.Errorf("%w: escapes are not supported", mailbox.ErrName)
	case n.Reserved != nil && n.Reserved(enc):
		return fmt.Errorf("%w: reserved", mailbox.ErrName)
	}
	return nil
}

// escaped reports whether a name has what the listescape plugin writes: a backslash and
// two lower-case hexadecimal digits.
func escaped(enc string) bool {
	const hex = "0123456789abcdef"
	for i := 0; i+2 < len(enc); i++ {
		if enc[i] == '\\' && strings.IndexByte(hex, enc[i+1]) >= 0 && strings.IndexByte(hex, enc[i+2]) >= 0 {
			return true
		}
	}
	return false
}

// Decode returns the name that a storage name stands for. ok is false where it cannot be
// shown: not canonical, or with our separator inside a level.
func (n Names) Decode(key string) (name string, ok bool) {
	parts := mailbox.SplitName(key, n.Layout)
	for i, p := range parts {
		if !n.UTF8 {
			dec, err := mailbox.DecodeUTF7(p)
			if err != nil {
				return "", false
			}
			p = dec
		}
		if strings.IndexByte(p, n.Separator) >= 0 {
			return "", false
		}
		parts[i] = p
	}
	name = mailbox.JoinName(parts, n.Separator)
	back, err := n.Encode(name)
	return name, err == nil && back == key && mailbox.CanonicalName(name, n.Separator) == name
}
