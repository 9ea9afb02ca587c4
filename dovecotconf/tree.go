package dovecotconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"mailcrypt/internal/durable"
)

// Bounds of the input, far above any real configuration.
const (
	maxText  = 4 << 20 // of all files together
	maxNodes = 20_000
	maxDepth = 32
	maxFiles = 500
	maxValue = 64 << 10
	maxWords = 10_000 // that are variables
)

// A node is a setting or a section.
type node struct {
	key, value string // value of a setting, or name of a section
	form       form
	section    bool
	file       string
	line       int
	dir        string // what a relative name in the value is relative to
	above      *node
	below      []*node
	used       bool // taken over, or reported
}

// A tree is the whole input.
type tree struct {
	root    *node
	dir     string // of the main file
	version string // as the head of doveconf's output has it
	size    int
	nodes   int
	files   int
	words   int
	open    []string // the files being read, against includes that go in circles
}

var headLine = regexp.MustCompile(`^# (\d+\.\d+)[^ ]* \([^)]*\): (\S.*)$`)

// file parses one file into the tree.
func (t *tree) file(name, dir string, text []byte) error {
	t.size += len(text)
	t.files++
	if t.size > maxText || t.files > maxFiles {
		return fmt.Errorf("%w: %s", ErrTooLarge, name)
	}
	at, depth := t.root, 0
	joined, first, isHidden := "", 0, false
	for n, raw := range strings.Split(string(text), "\n") {
		fail := func(reason string) error {
			return fmt.Errorf("%w: %s:%d: %s", ErrSyntax, name, n+1, reason)
		}
		if !utf8.ValidString(raw) || strings.ContainsRune(raw, 0) {
			return fail("not UTF-8")
		}
		if m := headLine.FindStringSubmatch(raw); m != nil && n == 0 {
			t.version = m[1]
			if dir == "" && filepath.IsAbs(m[2]) {
				dir = filepath.Dir(m[2])
				t.dir = dir
			}
		}
		isHidden = isHidden || strings.Contains(raw, hiddenValue) || strings.Contains(raw, hiddenPart)
		s := strings.Trim(uncomment(strings.TrimLeft(raw, space)), space)
		if joined == "" {
			first = n + 1
		}
		if strings.HasSuffix(s, `\`) {
			if s = strings.TrimRight(s[:len(s)-1], space); s != "" {
				joined += s + " "
			}
			if len(joined) > maxValue {
				return fail("too long")
			}
			continue
		}
		if s == "" && strings.HasPrefix(strings.TrimLeft(raw, space), "#") {
			isHidden = false
			continue // a comment between continued lines does not end them
		}
		l, reason := parseLine(joined+s, isHidden)
		joined, isHidden = "", false
		if reason != "" {
			return fail(reason)
		}
		if len(l.value) > maxValue || len(l.key) > maxValue {
			return fail("too long")
		}
		switch l.kind {
		case setting:
			if err := t.add(at, &node{key: l.key, value: t.expand(at, l), form: l.form, file: name, line: first, dir: dir}); err != nil {
				return err
			}
		case begin:
			if depth++; depth > maxDepth {
				return fail("too many sections within one another")
			}
			next := at.named(l.key, l.value)
			if next == nil {
				next = &node{key: l.key, value: l.value, section: true, file: name, line: first, dir: dir}
				if err := t.add(at, next); err != nil {
					return err
				}
			}
			at = next
		case end:
			if depth--; depth < 0 {
				return fail("a brace that closes nothing")
			}
			at = at.above
		case include, includeTry:
			if at != t.root {
				return fail("an include within a section is not supported")
			}
			if err := t.include(l, name, n+1, dir); err != nil {
				return err
			}
		}
	}
	if depth != 0 {
		return fmt.Errorf("%w: %s:%d: the section %s is not closed", ErrSyntax, name, at.line, at.key)
	}
	return nil
}

func (t *tree) add(to, n *node) error {
	if t.nodes++; t.nodes > maxNodes || t.size > 2*maxText || t.words > maxWords {
		return fmt.Errorf("%w: %s:%d", ErrTooLarge, n.file, n.line)
	}
	n.above = to
	to.below = append(to.below, n)
	return nil
}

// named finds an earlier section that one of the same name goes on with. Unnamed ones
// stand for themselves, but for those that are there only once.
func (n *node) named(key, name string) *node {
	if name == "" && key != "plugin" {
		return nil
	}
	for i := len(n.below) - 1; i >= 0; i-- {
		if b := n.below[i]; b.section && b.key == key && b.value == name {
			return b
		}
		if len(n.below)-i > 1000 {
			break // a configuration of a thousand sections is one of an attacker
		}
	}
	return nil
}

// expand replaces the words $NAME, $SET:NAME and $ENV:NAME of a value. The
// environment is Dovecot's, not ours, and is not read.
func (t *tree) expand(at *node, l line) string {
	if l.form != plain || !strings.Contains(l.value, "$") {
		return l.value
	}
	words := strings.Fields(l.value)
	for i, w := range words {
		name, ok := strings.CutPrefix(w, "$")
		if !ok {
			continue
		}
		name = strings.TrimPrefix(name, "SET:")
		words[i] = ""
		if t.words++; t.words > maxWords {
			continue
		}
		for n := at; n != nil; n = n.above {
			if v := n.last(name); v != nil {
				words[i] = v.value
				break
			}
		}
	}
	v := strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
	if t.size += len(v); len(v) > maxValue { // the size is checked by who adds the value
		return ""
	}
	return v
}

// last is the last setting of a name in a section: it wins.
func (n *node) last(key string) *node {
	for i := len(n.below) - 1; i >= 0; i-- {
		if b := n.below[i]; b.key == key && !b.section {
			return b
		}
	}
	return nil
}

// sections are those of a kind, in their order.
func (n *node) sections(key string) []*node {
	var list []*node
	for _, b := range n.below {
		if b.section && b.key == key {
			list = append(list, b)
		}
	}
	return list
}

// include reads the files that a pattern names, in the order of their names.
func (t *tree) include(l line, from string, at int, dir string) error {
	fail := func(err error) error {
		return fmt.Errorf("dovecotconf: %s:%d: include: %w", from, at, err)
	}
	pattern := l.value
	if !filepath.IsAbs(pattern) {
		if dir == "" {
			return fail(errors.New("the directory of the file is not known"))
		}
		pattern = filepath.Join(dir, pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return fail(err)
	}
	if len(files) == 0 && l.kind == include {
		return fail(fmt.Errorf("%s: %w", pattern, fs.ErrNotExist))
	}
	for _, name := range files {
		if slices.Contains(t.open, name) {
			return fail(fmt.Errorf("%w: %s includes itself", ErrSyntax, name))
		}
		text, err := readFile(name)
		if err != nil {
			if l.kind == includeTry && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return fail(err)
		}
		t.open = append(t.open, name)
		if len(t.open) > maxDepth {
			return fail(ErrTooLarge)
		}
		if err := t.file(name, filepath.Dir(name), text); err != nil {
			return err
		}
		t.open = t.open[:len(t.open)-1]
	}
	return nil
}

// readFile reads a regular file within the bound.
func readFile(name string) ([]byte, error) {
	f, _, err := durable.OpenRegular(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText+1))
}
