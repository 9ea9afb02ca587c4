package attrdict

import "fmt"

// Limits on what is stored. Dovecot's keys have some 250 bytes and its values at most a few
// thousand; METADATA values of clients are limited by quota long before this.
const (
	maxKey   = 4 << 10
	maxValue = 16 << 20
	// maxFile is how much of a dictionary file is read or written.
	maxFile = 64 << 20
)

func checkPair(key string, value []byte) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: empty", ErrKey)
	case len(key) > maxKey:
		return fmt.Errorf("%w: key of %d bytes", ErrTooLarge, len(key))
	case len(value) > maxValue:
		return fmt.Errorf("%w: value of %d bytes for %s", ErrTooLarge, len(value), key)
	}
	return nil
}
