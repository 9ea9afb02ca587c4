package compress

import "fmt"

// A Level is how hard a writer tries. The zero Level is the method's default in
// Dovecot: gz 6, bz2 9, zstd 3.
type Level struct {
	set bool
	n   int
}

// Default is the zero Level.
var Default Level

// The range of zstd levels is libzstd's.
const (
	zstdMin = -131072
	zstdMax = 22
)

// NewLevel checks a number of Dovecot's zlib_save_level or compress_*_level for a
// method: gz 0 to 9, bz2 and lz4 1 to 9 (lz4 ignores it), zstd -131072 to 22. For
// gz -1 is the default, as in Dovecot. The error wraps ErrLevel or ErrMethod.
func NewLevel(m Method, n int) (Level, error) {
	lo, hi := 1, 9
	switch m {
	case Gzip:
		if n == -1 {
			return Level{}, nil
		}
		lo = 0
	case Bzip2, LZ4:
	case Zstd:
		lo, hi = zstdMin, zstdMax
	default:
		return Level{}, fmt.Errorf("compress: level for %q: %w", string(m), ErrMethod)
	}
	if n < lo || n > hi {
		return Level{}, fmt.Errorf("compress: %s level %d, want %d to %d: %w", m, n, lo, hi, ErrLevel)
	}
	return Level{true, n}, nil
}

// or returns the number, or a method's default.
func (l Level) or(def int) int {
	if l.set {
		return l.n
	}
	return def
}

// String is the number, or "default".
func (l Level) String() string {
	if !l.set {
		return "default"
	}
	return fmt.Sprint(l.n)
}
