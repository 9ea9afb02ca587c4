package mdbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are Dovecot's settings of mdbox.
type Settings struct {
	RotateSize     int64         // mdbox_rotate_size, in bytes; 0 means 10 MiB
	RotateInterval time.Duration // mdbox_rotate_interval; 0 means any age
	Preallocate    bool          // mdbox_preallocate_space
}

// SettingNames are the names of the settings.
var SettingNames = []string{"mdbox_rotate_size", "mdbox_rotate_interval", "mdbox_preallocate_space"}

// ParseSettings reads settings in Dovecot's form, such as 10M, 1d and yes. get returns the
// value of a name and whether it is set.
func ParseSettings(get func(name string) (string, bool)) (s Settings, err error) {
	if v, ok := get("mdbox_rotate_size"); ok {
		if s.RotateSize, err = parseSize(v); err != nil {
			return s, fmt.Errorf("mdbox_rotate_size %w", err)
		}
	}
	if v, ok := get("mdbox_rotate_interval"); ok {
		if s.RotateInterval, err = parseInterval(v); err != nil {
			return s, fmt.Errorf("mdbox_rotate_interval %w", err)
		}
	}
	if v, ok := get("mdbox_preallocate_space"); ok {
		switch strings.ToLower(v) {
		case "yes", "y", "true", "1", "on":
			s.Preallocate = true
		case "no", "n", "false", "0", "off", "":
		default:
			return s, fmt.Errorf("mdbox_preallocate_space must be yes or no")
		}
	}
	return s, nil
}

// amount splits a number from its unit.
func amount(s string) (n int64, unit string, ok bool) {
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "0123456789")
	n, err := strconv.ParseInt(s[:len(s)-len(digits)], 10, 64)
	return n, strings.ToLower(strings.TrimSpace(digits)), err == nil
}

func parseSize(s string) (int64, error) {
	n, unit, ok := amount(s)
	shift := slices.Index([]string{"b", "k", "m", "g"}, strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i"))
	if unit == "" || unit == "b" {
		shift = 0
	}
	// A file has offsets of 32 bits.
	if !ok || shift < 0 || n < 1 || n > (1<<32-1)>>(10*shift) {
		return 0, fmt.Errorf("is no size such as 10M, of less than 4G")
	}
	return n << (10 * shift), nil
}

func parseInterval(s string) (time.Duration, error) {
	n, unit, ok := amount(s)
	for _, u := range []struct {
		names string
		is    time.Duration
	}{{"s sec secs second seconds", time.Second}, {"m min mins minute minutes", time.Minute}, {"h hour hours", time.Hour},
		{"d day days", 24 * time.Hour}, {"w week weeks", 7 * 24 * time.Hour}} {
		if slices.Contains(strings.Fields(u.names), unit) && ok && n < 1_000_000 {
			return time.Duration(n) * u.is, nil
		}
	}
	if ok && n == 0 && unit == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("is no time such as 1d or 12h")
}
