package dovecotconf

import "strings"

// A kind is what a line is.
type kind int

const (
	blank kind = iota
	setting
	begin
	end
	include
	includeTry
)

// A form is how the value of a setting is written.
type form int

const (
	plain    form = iota
	quoted        // in quotes, which have been taken off
	fromFile      // <FILE: the value is the file's contents
	hidden        // doveconf without -P
)

// A line is a logical line taken apart.
type line struct {
	kind  kind
	key   string
	value string // of a setting, or the name of a section, or the file of an include
	form  form
}

// What doveconf prints instead of secrets.
const (
	hiddenValue = "# hidden, use -P to show it"
	hiddenPart  = "#hidden_use-P_to_show#"
)

const space = " \t\r\n\v\f"

// uncomment takes the comment off a line. A quote that is not closed protects the rest
// (Dovecot: config_parse_line).
func uncomment(s string) string {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '"':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '#':
			return s[:i]
		}
	}
	return s
}

// unescape drops the backslashes of a quoted value.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseLine takes a line apart; reason is "" or what is wrong with it. raw is without its
// comment; isHidden tells of what the comment was.
func parseLine(raw string, isHidden bool) (l line, reason string) {
	s := strings.Trim(raw, space)
	if s == "" {
		return line{}, ""
	}
	key, rest := cutKey(s)
	rest = strings.TrimLeft(rest, space)
	l.key = key
	switch {
	case key == "!include":
		return line{kind: include, value: unquote(rest)}, ""
	case key == "!include_try":
		return line{kind: includeTry, value: unquote(rest)}, ""
	case strings.HasPrefix(rest, "="):
		l.kind = setting
		l.value, l.form = parseValue(strings.TrimLeft(rest[1:], space))
		if isHidden {
			l.form = hidden
		}
		if key == "" {
			return line{}, "a setting without a name"
		}
		return l, ""
	case key == "}" && rest == "":
		return line{kind: end}, ""
	}
	l.kind = begin
	if key == "group" { // group @name instance {: a section of 2.4 with two names
		group, after := cutKey(rest)
		l.key, rest = group, strings.TrimLeft(after, space)
	}
	if !strings.HasPrefix(rest, "{") {
		var name string
		name, rest = cutKey(rest)
		l.value = name
		rest = strings.TrimLeft(rest, space)
	}
	switch {
	case !strings.HasPrefix(rest, "{"):
		return line{}, "neither a setting nor the beginning of a section"
	case rest != "{":
		return line{}, "text behind a brace"
	case l.key == "" || l.key == "}" || l.key == "{":
		return line{}, "a section without a name"
	}
	return l, ""
}

// cutKey takes a word, or a quoted text, off the beginning of s.
func cutKey(s string) (key, rest string) {
	if strings.HasPrefix(s, `"`) {
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return unescape(s[1:i]), s[i+1:]
			}
		}
		return unescape(s[1:]), ""
	}
	if i := strings.IndexAny(s, space+"="); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func parseValue(s string) (string, form) {
	if name, ok := strings.CutPrefix(s, "<"); ok {
		return strings.Trim(name, space), fromFile
	}
	if v := unquote(s); v != s || s == `""` {
		return v, quoted
	}
	return s, plain
}

func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return unescape(s[1 : n-1])
	}
	return s
}
