package maildir

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailcrypt/mailbox"
)

// splitBase divides a file name into its base and the rest, which is empty or begins
// with the first colon.
func splitBase(name string) (base, suffix string) {
	if i := strings.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// ignored reports whether a directory entry is no message whatever it holds.
func ignored(name []byte) bool {
	return len(name) == 0 || name[0] == '.' || bytes.ContainsAny(name, "\r\n")
}

// splitFlags divides a suffix: before is what stays in front of the flags, letters are
// the flags, and after is a comma and what follows it, which other programs may use.
// Flags stand behind the last colon, and only if "2," follows it.
func splitFlags(suffix string) (before, letters, after string) {
	i := strings.LastIndexByte(suffix, ':')
	if i < 0 {
		return "", "", ""
	}
	info, ok := strings.CutPrefix(suffix[i+1:], "2,")
	if !ok {
		return suffix[:i], "", ""
	}
	if n := strings.IndexByte(info, ','); n >= 0 {
		return suffix[:i], info[:n], info[n:]
	}
	return suffix[:i], info, ""
}

var letterFlags = []struct {
	letter byte
	flag   mailbox.SystemFlags
}{
	{'D', mailbox.Draft}, {'F', mailbox.Flagged}, {'R', mailbox.Answered}, {'S', mailbox.Seen}, {'T', mailbox.Deleted},
}

// systemOf returns the system flags among letters.
func systemOf(letters string) (f mailbox.SystemFlags) {
	for _, l := range letterFlags {
		if strings.IndexByte(letters, l.letter) >= 0 {
			f |= l.flag
		}
	}
	return f
}

// lettersOf returns the letters of system flags.
func lettersOf(f mailbox.SystemFlags) string {
	var b []byte
	for _, l := range letterFlags {
		if f&l.flag != 0 {
			b = append(b, l.letter)
		}
	}
	return string(b)
}

// isKeyword reports whether a letter stands for a line of dovecot-keywords.
func isKeyword(c byte) bool { return c >= 'a' && c <= 'z' }

// changeSuffix returns the suffix after a change whose flags are the given letters.
// Letters that mean nothing to us stay, and so does what follows a comma.
func changeSuffix(suffix string, op mailbox.FlagOp, change string) string {
	before, letters, after := splitFlags(suffix)
	set := []byte(letters)
	switch op {
	case mailbox.AddFlags:
		set = append(set, change...)
	case mailbox.RemoveFlags:
		set = slices.DeleteFunc(set, func(c byte) bool { return strings.IndexByte(change, c) >= 0 })
	default:
		set = slices.DeleteFunc(set, func(c byte) bool { return isKeyword(c) || systemOf(string(c)) != 0 })
		set = append(set, change...)
	}
	slices.Sort(set)
	return before + ":2," + string(slices.Compact(set)) + after
}

// nameSizes returns the sizes in a base name, Unknown where there are none.
func nameSizes(base string) (physical, virtual int64) {
	return nameSize(base, ",S="), nameSize(base, ",W=")
}

// nameSize reads the first occurrence of key: digits up to a comma or the end.
func nameSize(base, key string) int64 {
	_, rest, ok := strings.Cut(base, key)
	if !ok {
		return mailbox.Unknown
	}
	digits, _, _ := strings.Cut(rest, ",")
	return parseSize(digits)
}

// parseSize reads a decimal size; Unknown where it is none.
func parseSize(s string) int64 {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return mailbox.Unknown
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return mailbox.Unknown
	}
	return n
}

// withSizes appends ",S=" and ",W=": both or neither, for a wrong one makes the message
// unreadable to Dovecot.
func withSizes(base string, s mailbox.Sizes) string {
	if s.Physical < 0 || s.Virtual < 0 {
		return base
	}
	return base + ",S=" + strconv.FormatInt(s.Physical, 10) + ",W=" + strconv.FormatInt(s.Virtual, 10)
}

// A unique makes base names: time, pid and host as everywhere, and against clock steps,
// reused pids and containers with one host name a counter and a random number.
type unique struct {
	host string
	tail string // "R" and the random number

	mu   sync.Mutex
	last time.Time
	n    uint64
}

func newUnique(host string) *unique {
	var r [4]byte
	rand.Read(r[:])
	return &unique{host: safeHost(host), tail: "R" + hex.EncodeToString(r[:])}
}

// next returns a name that this process has not used.
func (u *unique) next() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now().Round(0).Truncate(time.Microsecond)
	if !now.After(u.last) {
		now = u.last.Add(time.Microsecond) // the order of delivery is that of the names
	}
	u.last = now
	u.n++
	return fmt.Sprintf("%d.M%dP%dQ%d%s.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), u.n, u.tail, u.host)
}

// safeHost replaces what must not be in a file name, in the usual form.
func safeHost(host string) string {
	var b strings.Builder
	for i := 0; i < len(host) && i < 64; i++ {
		if c := host[i]; c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == ',' || c == '\\' {
			fmt.Fprintf(&b, "\\%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() == 0 {
		return "localhost"
	}
	return b.String()
}

// An arrival is what orders files that have no UID yet.
type arrival struct {
	sec  uint64 // the number at the start, 0 where there is none
	usec int64  // the number behind "M", -1 where there is none
	base string
}

func arrivalOf(base string) arrival {
	sec, rest := leadingNumber(base)
	a := arrival{sec, -1, base}
	if text, ok := strings.CutPrefix(rest, ".M"); ok {
		if n, tail := leadingNumber(text); len(tail) < len(text) {
			a.usec = int64(min(n, 1<<62))
		}
	}
	return a
}

// compare orders as Dovecot does: by the seconds, by microseconds where both have them, by
// the text.
func (a arrival) compare(b arrival) int {
	if c := cmp.Compare(a.sec, b.sec); c != 0 {
		return c
	}
	if a.usec >= 0 && b.usec >= 0 {
		if c := cmp.Compare(a.usec, b.usec); c != 0 {
			return c
		}
	}
	return strings.Compare(a.base, b.base)
}

// leadingNumber reads digits; a number that is too large counts as the largest.
func leadingNumber(s string) (n uint64, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.ParseUint(s[:i], 10, 64)
	if err != nil && i > 0 {
		n = 1<<64 - 1
	}
	return n, s[i:]
}
