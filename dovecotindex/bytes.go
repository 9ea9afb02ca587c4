package dovecotindex

import "encoding/binary"

var le = binary.LittleEndian

func align4(n int) int { return (n + 3) &^ 3 }
func align8(n int) int { return (n + 7) &^ 7 }

// recordSize decodes the size field of a log record: seven bits a byte, big-endian, in
// units of four, each byte with its top bit set. 0 says that the record is not finished.
// (Dovecot: mail_index_offset_to_uint32.)
func recordSize(b []byte) int {
	n := 0
	for _, c := range b[:4] {
		if c&0x80 == 0 {
			return 0
		}
		n = n<<7 | int(c&0x7f)
	}
	return n << 2
}

// appendRecordSize is the inverse of recordSize; n is a multiple of 4 below 1 GiB.
func appendRecordSize(b []byte, n int) []byte {
	n >>= 2
	return append(b, 0x80|byte(n>>21), 0x80|byte(n>>14), 0x80|byte(n>>7), 0x80|byte(n))
}

// isZero reports whether b is all zero.
func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
