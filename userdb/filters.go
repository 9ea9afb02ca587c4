package userdb

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A flow is the value on its way through a pipeline of Dovecot 2.4's. Binary values come
// out as hexadecimal digits unless a filter says otherwise.
type flow struct {
	b      []byte
	binary bool
	set    bool
}

// A param is one parameter of a filter: a quoted text, a number, or the name of a variable.
type param struct {
	key   string // "" if it has only a position
	value []byte
}

// pipeline expands "variable | filter | filter(parameters)". The first step may also be one
// of the filters literal, lookup and concat. (Dovecot: lib-var-expand/expansion-filter.c.)
func (v Vars) pipeline(s string) ([]byte, error) {
	var f flow
	steps, err := splitOutside(s, '|')
	if err != nil {
		return nil, err
	}
	for i, step := range steps {
		name, args, called := strings.Cut(strings.TrimSpace(step), "(")
		name = strings.TrimSpace(name)
		if called {
			if !strings.HasSuffix(args, ")") {
				return nil, fmt.Errorf("%w: filter %q is not closed", ErrTemplate, name)
			}
			args = strings.TrimSuffix(args, ")")
		}
		if i == 0 && !called {
			if f.b, err = v.lookup(name); err != nil {
				return nil, err
			}
			f.set = true
			continue
		}
		params, err := v.params(args)
		if err != nil {
			return nil, err
		}
		if err := f.filter(v, name, params); err != nil {
			clear(f.b)
			return nil, fmt.Errorf("%w: filter %q", err, name)
		}
		if len(f.b) > maxExpanded {
			return nil, fmt.Errorf("%w: filter %q makes too much", ErrTemplate, name)
		}
	}
	if f.binary {
		return hex.AppendEncode(nil, f.b), nil
	}
	return f.b, nil
}

// splitOutside splits at a separator that is in neither quotes nor parentheses.
func splitOutside(s string, sep byte) ([]string, error) {
	var parts []string
	start, parens, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			parens++
		case c == ')':
			parens--
		case c == sep && parens == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	if quote != 0 || parens != 0 {
		return nil, fmt.Errorf("%w: open quote or parenthesis", ErrTemplate)
	}
	return append(parts, s[start:]), nil
}

func (v Vars) params(s string) ([]param, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	parts, err := splitOutside(s, ',')
	if err != nil {
		return nil, err
	}
	var params []param
	for _, part := range parts {
		var p param
		part = strings.TrimSpace(part)
		if part != "" && part[0] != '\'' && part[0] != '"' {
			if key, value, ok := strings.Cut(part, "="); ok {
				p.key, part = strings.TrimSpace(key), strings.TrimSpace(value)
			}
		}
		switch _, nerr := strconv.ParseInt(part, 10, 64); {
		case part == "":
			return nil, fmt.Errorf("%w: empty parameter", ErrTemplate)
		case part[0] == '\'' || part[0] == '"':
			p.value, err = unquote(part)
		case nerr == nil:
			p.value = []byte(part)
		default:
			p.value, err = v.lookup(part)
		}
		if err != nil {
			return nil, err
		}
		params = append(params, p)
	}
	return params, nil
}

// unquote reads a text in quotes of either kind, with backslash escapes.
func unquote(s string) ([]byte, error) {
	quote, out := s[0], []byte{}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			if i != len(s)-1 {
				return nil, fmt.Errorf("%w: text after a quote", ErrTemplate)
			}
			return out, nil
		case c == '\\' && i+1 < len(s):
			i++
			switch c = s[i]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return nil, fmt.Errorf("%w: open quote", ErrTemplate)
}

// filter applies one filter: lower, upper, username, domain, reverse, ldap_dn, default,
// literal, lookup, concat, index, substr, truncate, lfill, rfill, base64, unbase64, hex,
// unhex, hexlify, unhexlify, hash, md5, sha1, sha256, sha384 and sha512.
func (f *flow) filter(v Vars, name string, params []param) error {
	switch name {
	case "literal", "lookup", "concat":
	default:
		if !f.set {
			return fmt.Errorf("%w: no value", ErrTemplate)
		}
	}
	if name == "hash" && len(params) > 0 && params[0].key == "" {
		name, params = string(params[0].value), params[1:]
	}
	if h := hashByName(name); h != nil {
		return f.hash(name, params)
	}
	if done, err := f.filterText(name, params); done {
		return err
	}
	if done, err := f.filterCode(name, params); done {
		return err
	}
	switch name {
	case "literal", "default":
		if name == "default" && len(f.b) > 0 {
			return nil
		}
		p, err := only(params, name == "default")
		f.give(p, false)
		return err
	case "lookup":
		p, err := only(params, false)
		if err == nil {
			p, err = v.lookup(string(p))
		}
		f.give(p, false)
		return err
	case "concat":
		out := bytes.Clone(f.b)
		for _, p := range params {
			out = append(out, p.value...)
		}
		f.give(out, f.binary)
		return nil
	}
	return fmt.Errorf("%w: not supported", ErrTemplate)
}

func (f *flow) give(b []byte, binary bool) { f.b, f.binary, f.set = b, binary, true }

// filterText has the filters on text.
func (f *flow) filterText(name string, params []param) (done bool, err error) {
	switch name {
	case "lower", "upper", "username", "domain", "reverse", "ldap_dn":
		if len(params) > 0 {
			return true, fmt.Errorf("%w: no parameters", ErrTemplate)
		}
	case "index":
		return true, f.index(params)
	case "substr":
		return true, f.substr(params)
	case "lfill", "rfill":
		return true, f.fill(name == "lfill", params)
	default:
		return false, nil
	}
	switch name {
	case "lower":
		lower(f.b)
	case "upper":
		upper(f.b)
	case "username":
		f.b, _, _ = bytes.Cut(f.b, []byte{'@'})
	case "domain":
		_, f.b, _ = bytes.Cut(f.b, []byte{'@'})
	case "reverse":
		slices.Reverse(f.b)
	case "ldap_dn":
		f.b = bytes.ReplaceAll(f.b, []byte{'.'}, []byte(",dc="))
	}
	return true, nil
}

func (f *flow) index(params []param) error {
	if len(params) != 2 || len(params[0].value) == 0 {
		return fmt.Errorf("%w: separator and position are needed", ErrTemplate)
	}
	n, err := params[1].number()
	parts := bytes.Split(f.b, params[0].value)
	if n < 0 {
		n += len(parts)
	}
	if err != nil || n < 0 || n >= len(parts) {
		return fmt.Errorf("%w: position out of bounds", ErrTemplate)
	}
	f.give(parts[n], false)
	return nil
}

func (f *flow) substr(params []param) error {
	var n [2]int
	if len(params) < 1 || len(params) > 2 {
		return fmt.Errorf("%w: offset and length are needed", ErrTemplate)
	}
	for i, p := range params {
		var err error
		if n[i], err = p.number(); err != nil || n[i] < -len(f.b) || n[i] > len(f.b) {
			return fmt.Errorf("%w: out of bounds", ErrTemplate)
		}
	}
	from := n[0]
	if from < 0 {
		from += len(f.b)
	}
	to := len(f.b)
	if len(params) == 2 {
		switch {
		case n[1] == 0:
			to = from
		case n[1] < 0:
			to += n[1]
		default:
			to = from + n[1]
		}
	}
	if to < from || to > len(f.b) {
		return fmt.Errorf("%w: out of bounds", ErrTemplate)
	}
	f.b = f.b[from:to]
	return nil
}

func (f *flow) fill(left bool, params []param) error {
	filler := []byte{'0'}
	if len(params) == 2 {
		filler = params[1].value
	}
	n, err := -1, error(nil)
	if len(params) == 1 || len(params) == 2 {
		n, err = params[0].number()
	}
	if err != nil || n < 1 || n > maxWidth || len(filler) == 0 {
		return fmt.Errorf("%w: length and filler are needed", ErrTemplate)
	}
	for len(f.b) < n {
		if left {
			f.b = append(bytes.Clone(filler), f.b...)
		} else {
			f.b = append(f.b, filler...)
		}
	}
	return nil
}

// filterCode has the filters between bytes and digits.
func (f *flow) filterCode(name string, params []param) (done bool, err error) {
	switch name {
	case "truncate":
		return true, f.truncate(params)
	case "hexlify":
		return true, f.hexlify(params)
	case "base64", "unbase64":
		return true, f.base64(name == "base64", params)
	case "hex", "unhex", "unhexlify":
	default:
		return false, nil
	}
	if len(params) > 0 {
		return true, fmt.Errorf("%w: no parameters", ErrTemplate)
	}
	var out []byte
	switch name {
	case "unhexlify":
		out = make([]byte, hex.DecodedLen(len(f.b)))
		_, err = hex.Decode(out, f.b)
	case "hex", "unhex":
		from, to := 10, 16
		if name == "unhex" {
			from, to = 16, 10
		}
		var n uint64
		n, err = strconv.ParseUint(string(f.b), from, 64)
		out = strconv.AppendUint(nil, n, to)
	}
	if err != nil {
		return true, fmt.Errorf("%w: the value does not fit", ErrTemplate) // err may quote it
	}
	f.give(out, name == "unhexlify")
	return true, nil
}

func (f *flow) truncate(params []param) error {
	if len(params) != 1 || params[0].key != "" && params[0].key != "bits" {
		return fmt.Errorf("%w: a length is needed", ErrTemplate)
	}
	n, err := params[0].number()
	if err != nil || n < 0 {
		return fmt.Errorf("%w: a length is needed", ErrTemplate)
	}
	if params[0].key == "bits" {
		f.b = truncateBits(f.b, n)
	} else {
		f.b = f.b[:min(n, len(f.b))]
	}
	return nil
}

func (f *flow) hexlify(params []param) error {
	out := hex.AppendEncode(nil, f.b)
	if len(params) > 0 {
		n, err := params[0].number()
		if err != nil || n < 0 || n > maxWidth || len(params) > 1 {
			return fmt.Errorf("%w: width", ErrTemplate)
		}
		switch {
		case n > len(out):
			out = append(bytes.Repeat([]byte{'0'}, n-len(out)), out...)
		case n > 0:
			out = out[:n]
		}
	}
	f.give(out, false)
	return nil
}

func (f *flow) base64(encode bool, params []param) error {
	pad, url := true, false
	for _, p := range params {
		yes := string(p.value) == "1"
		switch p.key {
		case "pad":
			pad = yes
		case "url":
			url = yes
		default:
			return fmt.Errorf("%w: parameter", ErrTemplate)
		}
	}
	enc := base64.StdEncoding
	if url {
		enc = base64.URLEncoding
	}
	if !pad {
		enc = enc.WithPadding(base64.NoPadding)
	}
	if encode {
		f.give(enc.AppendEncode(nil, f.b), false)
		return nil
	}
	out, err := enc.AppendDecode(nil, f.b)
	if err != nil {
		return fmt.Errorf("%w: the value does not fit", ErrTemplate)
	}
	f.give(out, true)
	return nil
}

func (f *flow) hash(name string, params []param) error {
	n, salt := 1, []byte(nil)
	for _, p := range params {
		var err error
		switch p.key {
		case "rounds":
			n, err = p.number()
		case "salt":
			salt = p.value
		default:
			err = ErrTemplate
		}
		if err != nil || n < 1 || n > maxRounds || len(salt) > maxSalt {
			return fmt.Errorf("%w: rounds=1 to %d and salt are known", ErrTemplate, maxRounds)
		}
	}
	f.give(rounds(hashByName(name), f.b, salt, n), true)
	return nil
}

func (p param) number() (int, error) { return strconv.Atoi(string(p.value)) }

// only returns the one parameter without a key.
func only(params []param, optional bool) ([]byte, error) {
	switch {
	case len(params) == 0 && optional:
		return []byte{}, nil
	case len(params) == 1 && params[0].key == "":
		return params[0].value, nil
	}
	return nil, fmt.Errorf("%w: one parameter is needed", ErrTemplate)
}
