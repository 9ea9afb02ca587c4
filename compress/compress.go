// Package compress holds the compression methods of Dovecot's zlib (2.3) and
// mail_compress (2.4) plugins as io layers. A stored message is one compressed
// stream; nothing but its first bytes says so:
//
//	gz    1f 8b                                   RFC 1952, one or more members
//	bz2   "BZh" %x31-39                           one or more streams
//	xz    fd 37 7a 58 5a 00                       read only; Dovecot up to 2.3
//	lz4   "Dovecot-LZ4" 0d 2a 9b c5               Dovecot's own container, below
//	zstd  28 b5 2f fd                             RFC 8878, one or more frames
//	deflate                                       RFC 1951, no magic: read by name only
//
// Dovecot can be told to write deflate and cannot read it back, so it is never
// written here, and read only where a caller says that it is there.
//
// The lz4 container is not the LZ4 frame format:
//
//	lz4   = magic max *chunk          ; ends with the stored bytes, no end mark
//	magic = "Dovecot-LZ4" 0d 2a 9b c5
//	max   = be32                      ; most bytes of a decoded chunk, 1 to 1 MiB; 65,536 is written
//	chunk = len block                 ; len = be32, 1 to 1 MiB
//	block = one raw LZ4 block, independent of the others, of 1 to max decoded bytes
//
// It carries no checksum and a cut between two chunks looks like its end, so whoever
// reads it compares the decoded size with what was recorded; see [Reader.Verified].
//
// Sources: Dovecot 2.3 src/lib-compression (compression.c, istream-lz4.c, ostream-*.c).
package compress

import (
	"bytes"
	"errors"
	"fmt"
)

// A Method names a compression method as Dovecot's zlib_save and
// mail_compress_write_method do. The empty Method is no compression.
type Method string

// The methods. XZ and Deflate can be read but not written.
const (
	None    Method = ""
	Gzip    Method = "gz"
	Bzip2   Method = "bz2"
	LZ4     Method = "lz4"
	Zstd    Method = "zstd"
	XZ      Method = "xz"
	Deflate Method = "deflate"
)

// Conditions that callers branch on.
var (
	// ErrCorrupt reports bytes that the method's format does not allow, or whose
	// checksum fails. A stream that ends early is io.ErrUnexpectedEOF instead.
	ErrCorrupt = errors.New("compress: invalid compressed data")
	// ErrTooLarge reports that more comes out than the limit of the reader allows, or
	// that decoding would need more memory than Dovecot itself would grant.
	ErrTooLarge = errors.New("compress: output above the limit")
	// ErrMethod reports a name that is no method, or one that cannot be used here:
	// writing xz or deflate.
	ErrMethod = errors.New("compress: method not supported")
	// ErrLevel reports a level outside the method's range.
	ErrLevel = errors.New("compress: level out of range")
)

// MaxMagic is how many first bytes [Detect] wants to see.
const MaxMagic = 15

const lz4Magic = "Dovecot-LZ4\r\x2a\x9b\xc5"

// ParseMethod reads the value of a setting that chooses how mail is saved; "" is
// None. The error wraps ErrMethod for an unknown name and for those that are never
// written. Dovecot logs such a name and saves mail uncompressed; refusing it is
// what an admin would rather have.
func ParseMethod(name string) (Method, error) {
	switch m := Method(name); m {
	case None, Gzip, Bzip2, LZ4, Zstd:
		return m, nil
	case XZ, Deflate:
		return None, fmt.Errorf("compress: %q is read but never written: %w", name, ErrMethod)
	default:
		return None, fmt.Errorf("compress: %q: %w", name, ErrMethod)
	}
}

// Detect tells by the first bytes of a stored message how it is compressed, None
// where it is not. A prefix shorter than a method's magic does not match it, so
// callers pass MaxMagic bytes or all there are. The result is the same for any
// prefix of at least MaxMagic bytes.
func Detect(prefix []byte) Method {
	// The order is Dovecot's; no two magics can match the same bytes.
	switch {
	case bytes.HasPrefix(prefix, []byte("\x1f\x8b")):
		return Gzip
	case len(prefix) >= 4 && string(prefix[:3]) == "BZh" && prefix[3] >= '1' && prefix[3] <= '9':
		return Bzip2
	case bytes.HasPrefix(prefix, []byte("\xfd7zXZ\x00")):
		return XZ
	case bytes.HasPrefix(prefix, []byte(lz4Magic)):
		return LZ4
	case bytes.HasPrefix(prefix, []byte("\x28\xb5\x2f\xfd")):
		return Zstd
	}
	return None
}
