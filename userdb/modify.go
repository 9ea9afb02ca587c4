package userdb

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// A cut is the part of a variable between the percent sign and its modifiers:
//
//	["-"] ["0"] number ["." ["-"] number]
//
// one number is the width, and its sign does not count; two are offset and width.
// (Dovecot: var-expand.c.)
type cut struct {
	offset, width int
	zero          bool // pad with zeros to the width instead of truncating to it
}

func parseCut(s string) (cut, string) {
	var c cut
	c.width, c.zero, s = number(s)
	if s != "" && s[0] == '.' {
		c.offset = c.width
		c.width, c.zero, s = number(s[1:])
	} else {
		c.width = max(c.width, -c.width)
	}
	return c, s
}

func number(s string) (n int, zero bool, rest string) {
	sign := 1
	if s != "" && s[0] == '-' {
		sign, s = -1, s[1:]
	}
	zero = s != "" && s[0] == '0'
	for s != "" && s[0] >= '0' && s[0] <= '9' {
		n = min(10*n+int(s[0]-'0'), maxWidth)
		s = s[1:]
	}
	return sign * n, zero, s
}

// apply takes the part of the value that was asked for, and keeps no reference to it.
func (c *cut) apply(b []byte) []byte {
	switch {
	case c.offset < 0:
		if len(b) > -c.offset {
			b = b[len(b)+c.offset:]
		}
	default:
		b = b[min(c.offset, len(b)):]
	}
	switch {
	case c.width == 0:
	case c.zero && c.width > 0:
		if n := c.width - len(b); n > 0 {
			b = append(bytes.Repeat([]byte{'0'}, n), b...)
		}
	case c.width < 0:
		b = b[:max(len(b)+c.width, 0)]
	default:
		b = b[:min(c.width, len(b))]
	}
	return b
}

// modify applies one modifier. The hashes take width as modulus and offset as the number of
// digits, which are then used up.
func (c *cut) modify(m byte, b []byte) []byte {
	switch m {
	case 'L':
		return lower(b)
	case 'U':
		return upper(b)
	case 'E':
		return escapeQuotes(b)
	case 'X':
		n, _ := strconv.ParseUint(string(b), 10, 64) // Dovecot: what is no number is 0
		return strconv.AppendUint(nil, n, 16)
	case 'R':
		slices.Reverse(b)
		return b
	case 'H':
		return c.digits(uint64(elfHash(b)))
	case 'N':
		sum := md5.Sum(b)
		return c.digits(binary.BigEndian.Uint64(sum[:]))
	case 'M':
		sum := md5.Sum(b)
		return hex.AppendEncode(nil, sum[:])
	case 'D':
		return bytes.ReplaceAll(b, []byte{'.'}, []byte(",dc="))
	default: // 'T'
		return bytes.Trim(b, " \t\r\n")
	}
}

func (c *cut) digits(n uint64) []byte {
	if c.width > 0 {
		n %= uint64(c.width)
	}
	out := fmt.Appendf(nil, "%0*x", max(c.offset, 0), uint32(n))
	c.width, c.offset = 0, 0
	return out
}

// elfHash is the hash of ELF symbol tables. Dovecot: str_hash().
func elfHash(b []byte) uint32 {
	var h uint32
	for _, c := range b {
		h = h<<4 + uint32(c)
		if g := h & 0xf0000000; g != 0 {
			h ^= g>>24 ^ g
		}
	}
	return h
}

// lower and upper change ASCII letters only, as Dovecot's do.
func lower(b []byte) []byte {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

func upper(b []byte) []byte {
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return b
}

func escapeQuotes(b []byte) []byte {
	out := make([]byte, 0, len(b)+8)
	for _, c := range b {
		if c == '"' || c == '\'' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return out
}
