package userdb

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrAbsent reports a template that needs the password, or the home, where there is
	// none. That is not an empty value: a key must not be sealed with it, and whoever asked
	// for a seal still wants one.
	ErrAbsent = errors.New("userdb: needed by the template and absent")
	// ErrTemplate reports a template that cannot be understood.
	ErrTemplate = errors.New("userdb: invalid template")
)

// Vars are the values that a template may name.
type Vars struct {
	User string // user@domain, or without a domain
	Home string // "" where it is not known
	// Password is that of the login; it counts only if HasPassword is set, for an empty
	// password is a password.
	Password    []byte
	HasPassword bool
	// More has further variables by their long names, such as service or rip.
	More map[string]string
}

// Limits on what a template may cost.
const (
	maxTemplate = 64 << 10
	maxExpanded = 64 << 10
	maxRounds   = 100_000
	maxSalt     = 1 << 10
	maxWidth    = 4 << 10
	maxDepth    = 4
)

// Expand replaces Dovecot's variables in a template. What a variable stands for is not
// expanded again. The result may be a secret, hence bytes; the caller clears them.
//
// In the words of Dovecot 2.3:
//
//	%u %n %d %h %w          user, username, domain, home, password; %% is a percent sign
//	%{user} %{username} %{domain} %{domain_first} %{domain_last} %{home} %{password}
//	%Lu %U{user} ...        modifiers: Lower, Upper, Escape, heX, Reverse, Hash, New hash,
//	                        MD5, LDAP dn, Trim
//	%2.3u %-3u %05n         offset.width, from the end if negative; padded if 0 comes first
//	%{sha256:password} %{md5;rounds=2,truncate=12,format=base64,salt=S:user}
//	%{pkcs5;rounds=N,salt=S:password}
//
// In a hash, salt ends the options, and format=hexuc gives lower-case digits: so it is in
// 2.3.19.1, and the result may be the password of somebody's key. In the words of 2.4:
//
//	%{user | lower | username} %{password | sha256(rounds=2, salt='S') | base64}
//
// with the filters that filters.go lists. Unlike 2.4, a percent sign that is not doubled
// must begin a variable. The environment is not read, and there are no conditions.
//
// Errors wrap ErrTemplate or ErrAbsent and name variables, never values.
func Expand(template string, v Vars) ([]byte, error) {
	if len(template) > maxTemplate {
		return nil, fmt.Errorf("%w: %d bytes", ErrTemplate, len(template))
	}
	return v.expand(template, 0)
}

func (v Vars) expand(s string, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: too deep", ErrTemplate)
	}
	out := make([]byte, 0, len(s)+64)
	for s != "" {
		text, rest, found := strings.Cut(s, "%")
		out = append(out, text...)
		if !found || rest == "" { // Dovecot drops a percent sign at the end
			break
		}
		if rest[0] == '%' {
			out, s = append(out, '%'), rest[1:]
			continue
		}
		value, after, err := v.variable(rest, depth)
		if err != nil {
			clear(out)
			return nil, err
		}
		out, s = append(out, value...), after
		if len(out) > maxExpanded {
			clear(out)
			return nil, fmt.Errorf("%w: the result is too long", ErrTemplate)
		}
	}
	return out, nil
}

// variable expands what follows a percent sign and returns the rest.
func (v Vars) variable(s string, depth int) (value []byte, rest string, err error) {
	cut, s := parseCut(s)
	mods := ""
	for len(mods) < 10 && s != "" && strings.IndexByte("LUEXRHNMDT", s[0]) >= 0 {
		mods, s = mods+s[:1], s[1:]
	}
	switch {
	case s == "":
		return nil, "", nil // as a percent sign at the end
	case s[0] == '{':
		end := braceEnd(s)
		if end < 0 {
			return nil, "", fmt.Errorf("%w: no closing brace", ErrTemplate)
		}
		value, err = v.long(s[1:end], depth)
		rest = s[end+1:]
	default:
		value, err = v.short(s[0])
		rest = s[1:]
	}
	if err != nil {
		return nil, "", err
	}
	for i := range len(mods) {
		value = cut.modify(mods[i], value)
	}
	return cut.apply(value), rest, nil
}

// braceEnd returns the index of the brace that closes the one at 0. Quoted parameters of
// filters may hold braces.
func braceEnd(s string) int {
	depth, parens, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case parens > 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '(':
			parens++
		case c == ')':
			parens--
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (v Vars) short(c byte) ([]byte, error) {
	switch c {
	case 'u':
		return v.lookup("user")
	case 'n':
		return v.lookup("username")
	case 'd':
		return v.lookup("domain")
	case 'h':
		return v.lookup("home")
	case 'w':
		return v.lookup("password")
	case 's':
		return v.lookup("service")
	case 'l':
		return v.lookup("lip")
	case 'r':
		return v.lookup("rip")
	}
	return nil, fmt.Errorf("%w: unknown variable %%%c", ErrTemplate, c)
}

// long expands what stands in braces.
func (v Vars) long(s string, depth int) ([]byte, error) {
	if at := strings.IndexAny(s, ":;|("); at >= 0 {
		if s[at] == '|' || s[at] == '(' {
			return v.pipeline(s)
		}
		if algo := s[:at]; algo == "pkcs5" || hashByName(algo) != nil {
			return v.hash23(s[at:], algo, depth)
		}
	}
	return v.lookup(strings.TrimSpace(s))
}

// lookup returns a copy of a variable's value.
func (v Vars) lookup(name string) ([]byte, error) {
	local, domain, _ := strings.Cut(v.User, "@")
	switch name {
	case "user":
		return []byte(v.User), nil
	case "username":
		return []byte(local), nil
	case "domain":
		return []byte(domain), nil
	case "domain_first":
		first, _, _ := strings.Cut(domain, "@")
		return []byte(first), nil
	case "domain_last":
		return []byte(domain[strings.LastIndexByte(domain, '@')+1:]), nil
	case "home":
		if v.Home == "" {
			return nil, fmt.Errorf("%w: home", ErrAbsent)
		}
		return []byte(v.Home), nil
	case "password":
		if !v.HasPassword {
			return nil, fmt.Errorf("%w: password", ErrAbsent)
		}
		return bytes.Clone(v.Password), nil
	}
	if value, ok := v.More[name]; ok {
		return []byte(value), nil
	}
	switch name { // where nobody said otherwise, there was no other name
	case "auth_user", "original_user", "orig_user":
		return v.lookup("user")
	case "auth_username", "original_username", "orig_username":
		return v.lookup("username")
	case "auth_domain", "original_domain", "orig_domain":
		return v.lookup("domain")
	}
	return nil, fmt.Errorf("%w: unknown variable %q", ErrTemplate, name)
}
