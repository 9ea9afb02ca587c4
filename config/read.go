package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A reader walks the tree of the file by the table of settings and collects errors.
type reader struct {
	c     *Config
	path  string
	dir   string
	lines [][]byte
	errs  []error
	// mailbox is the index of the [[mailbox]] being read.
	mailbox int
}

// table reads one table; prefix is "" for the top level.
func (r *reader) table(prefix string, tree map[string]any) {
	for _, key := range sortedKeys(tree) {
		value := tree[key]
		switch sub := value.(type) {
		case map[string]any:
			if prefix == "" && slices.Contains(tables, key) {
				r.table(key, sub)
				continue
			}
			switch {
			case prefix == "" && key == "mailbox":
				r.fail("", key, "is written as [[mailbox]], once for each folder")
			case prefix == "" && isSetting("", key), prefix != "" && isSetting(prefix, key):
				r.fail(prefix, key, "is a setting, not a table")
			case prefix == "":
				r.fail("", key, "unknown table"+near(key, tables))
			default:
				r.fail(prefix, key, "unknown setting"+near(key, names(prefix)))
			}
			continue
		case []any:
			if prefix == "" && key == "mailbox" {
				r.mailboxes(sub)
				continue
			}
		}
		r.setting(prefix, key, value)
	}
}

func (r *reader) mailboxes(list []any) {
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			r.fail("", "mailbox", "is written as [[mailbox]] with a name")
			return
		}
		r.c.Mailboxes = append(r.c.Mailboxes, Mailbox{Auto: "no"})
		r.mailbox = len(r.c.Mailboxes) - 1
		for _, key := range sortedKeys(m) {
			r.setting("mailbox", key, m[key])
		}
	}
}

// isSetting reports whether a table has a setting of a name.
func isSetting(table, name string) bool { return slices.Contains(names(table), name) }

func (r *reader) setting(table, key string, value any) {
	if table == "" && slices.Contains(tables, key) {
		r.fail("", key, "is a table: write ["+key+"] and its settings below")
		return
	}
	switch table {
	case "mail_crypt":
		r.crypt(key, value)
		return
	case "quota":
		r.quota(key, value)
		return
	}
	i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Table == table && s.Name == key })
	if i < 0 {
		r.fail(table, key, "unknown setting"+near(key, names(table)))
		return
	}
	if err := Settings[i].set(r, value); err != nil {
		r.fail(table, key, err.Error())
	}
}

// crypt keeps a setting of [mail_crypt] as text.
func (r *reader) crypt(key string, value any) {
	if !isCryptName(key) {
		r.fail("mail_crypt", key, "unknown setting"+near(key, names("mail_crypt")))
		return
	}
	text, err := asText(value)
	if err == nil {
		text, err = r.fromFile(text)
	}
	if err != nil {
		r.fail("mail_crypt", key, err.Error())
		return
	}
	r.c.Crypt[key] = text
}

// quota keeps a setting of [quota] as text.
func (r *reader) quota(key string, value any) {
	digits, rule := strings.CutPrefix(key, "rule")
	n, err := strconv.Atoi(digits)
	if numbered := rule && err == nil && n >= 2 && ruleName(n) == key; !numbered && !isSetting("quota", key) {
		r.fail("quota", key, "unknown setting"+near(key, names("quota")))
		return
	}
	text, err := asText(value)
	if err != nil {
		r.fail("quota", key, err.Error())
		return
	}
	if key == "root" {
		r.c.Quota["quota"] = text
		return
	}
	r.c.Quota["quota_"+key] = text
}

// ruleName is the name of the n-th rule.
func ruleName(n int) string {
	if n == 1 {
		return "rule"
	}
	return "rule" + strconv.Itoa(n)
}

// asText is the text of a setting that may be written as a number or as true or false.
func asText(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	}
	return "", errors.New("must be text, a number or true or false")
}

// isCryptName knows the settings of [mail_crypt]; keys are numbered: private_key,
// private_key2, and so on, each with its _password.
func isCryptName(name string) bool {
	for _, base := range []string{"private_key", "global_private_key"} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		rest = strings.TrimSuffix(rest, "_password")
		n, err := strconv.Atoi(rest)
		if rest == "" || err == nil && n >= 2 && strconv.Itoa(n) == rest {
			return true
		}
	}
	return slices.Contains(names("mail_crypt"), name)
}

// fromFile resolves "<FILE".
func (r *reader) fromFile(text string) (string, error) {
	name, ok := strings.CutPrefix(text, "<")
	if !ok {
		return text, nil
	}
	name = r.resolve(strings.TrimSpace(name))
	b, err := readFile(name, maxValue)
	if err != nil {
		return "", fmt.Errorf("the file %s: %w", name, err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if value == "" { // an empty password, say, protects nothing
		return "", fmt.Errorf("the file %s is empty", name)
	}
	return value, nil
}

// maxValue bounds a value that is in a file of its own.
const maxValue = 64 << 10

// resolve makes a path absolute, relative to the file.
func (r *reader) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "~") || strings.HasPrefix(path, "%h") {
		return path
	}
	return filepath.Join(r.dir, path)
}

func (r *reader) fail(table, key, reason string) {
	name := key
	if table != "" {
		name = "[" + table + "] " + key
	}
	r.errs = append(r.errs, &Error{File: r.path, Line: r.line(table, key), Setting: name, Reason: reason})
}

// line finds the line of a setting, or 0. The TOML library tells lines only of syntax
// errors. A setting within an inline table is on the line of the table.
func (r *reader) line(table, key string) int {
	now, boxes, inline := "", -1, 0
	for i, l := range r.lines {
		l = bytes.TrimSpace(l)
		if h, ok := bytes.CutPrefix(l, []byte("[")); ok {
			h, _, _ = bytes.Cut(bytes.TrimPrefix(h, []byte("[")), []byte("]"))
			now = plainKey(h)
			if now == "mailbox" {
				boxes++
			}
			if table == "" && now == key || table != "" && now == table+"."+key {
				return i + 1
			}
			continue
		}
		name, _, ok := bytes.Cut(l, []byte("="))
		if !ok {
			continue
		}
		n := plainKey(name)
		if now != "" {
			n = now + "." + n
		}
		want := key
		if table != "" {
			want = table + "." + key
		}
		if (n == want || strings.HasPrefix(n, want+".")) && (table != "mailbox" || boxes == r.mailbox) {
			return i + 1
		}
		if n == table && table != "" {
			inline = i + 1
		}
	}
	return inline
}

// plainKey takes quotes and blanks off a key, which may be dotted.
func plainKey(b []byte) string {
	parts := strings.Split(string(b), ".")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"'`)
	}
	return strings.Join(parts, ".")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// near suggests the name that was meant.
func near(name string, of []string) string {
	best, at := "", 3
	for _, n := range of {
		if d := distance(name, n); d < at {
			best, at = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the number of edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := prev
			if a[i] != b[j] {
				d++
			}
			prev = row[j+1]
			row[j+1] = min(d, row[j]+1, prev+1)
		}
	}
	return row[len(b)]
}

// parseSize reads "64M": a number of bytes with k, M, G or T.
func parseSize(v any) (int64, error) {
	if n, ok := v.(int64); ok {
		if n < 0 {
			return 0, fmt.Errorf("must not be negative")
		}
		return n, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf(`must be a size such as "64M"`)
	}
	digits := strings.TrimRight(s, "kKmMgGtTiIbB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf(`%q is not a size such as "64M"`, s)
	}
	shift := 0
	switch unit := strings.ToLower(strings.TrimSpace(s[len(digits):])); strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") {
	case "":
	case "k":
		shift = 10
	case "m":
		shift = 20
	case "g":
		shift = 30
	case "t":
		shift = 40
	default:
		return 0, fmt.Errorf(`%q is not a size such as "64M"`, s)
	}
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n << shift, nil
}
