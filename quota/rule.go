package quota

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A rule is what one mask says. In the user's own rule the amounts are limits, of which 0
// is none; in others they are added to the user's.
type rule struct {
	mask            string
	ignore          bool
	bytes, messages amount
}

// An amount is a number, or a percentage of the user's limit.
type amount struct {
	n       int64
	percent bool
}

// limit is the amount as a limit of the user.
func (a amount) limit() int64 {
	if a.n == 0 {
		return NoLimit
	}
	return a.n
}

// addRule reads one rule into the policy.
func (p *Policy) addRule(text string) error {
	mask, limits, ok := strings.Cut(text, ":")
	if !ok {
		return errors.New(`is no rule such as "*:storage=1G"`)
	}
	user := mask == "*" || mask == "?"
	r := &p.user
	if !user {
		r = p.ruleOf(mask)
	}
	if limits == "ignore" {
		r.ignore = true // of the user's own rule it means nothing, as in Dovecot
		return nil
	}
	for limit := range strings.SplitSeq(limits, ":") {
		if err := r.set(limit, user); err != nil {
			return err
		}
	}
	return nil
}

// ruleOf returns the rule of a mask, a new one where there is none.
func (p *Policy) ruleOf(mask string) *rule {
	if strings.EqualFold(mask, "INBOX") {
		mask = "INBOX"
	}
	for _, r := range p.rules {
		if r.mask == mask {
			return r
		}
	}
	r := &rule{mask: mask}
	p.rules = append(p.rules, r)
	return r
}

// set reads one limit.
func (r *rule) set(limit string, user bool) error {
	name, value, _ := strings.Cut(limit, "=")
	into, unit := &r.bytes, int64(1)
	switch name {
	case "storage":
		unit = 1 << 10
	case "bytes":
	case "messages":
		into = &r.messages
	default:
		return fmt.Errorf("%q is none of storage=, bytes=, messages= and ignore", clip(name))
	}
	if plus, ok := strings.CutPrefix(value, "+"); ok {
		if user {
			return fmt.Errorf("%q: a limit of the user cannot have a sign", clip(limit))
		}
		if value = plus; strings.HasPrefix(value, "-") {
			return fmt.Errorf("%q is not a number with a unit", clip(limit))
		}
	}
	a, err := parseAmount(value, unit)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", clip(limit), err)
	case user && a.percent:
		return fmt.Errorf("%q: a limit of the user cannot be a percentage", clip(limit))
	case user && a.n < 0:
		return fmt.Errorf("%q: a limit of the user cannot be negative", clip(limit))
	}
	*into = a
	return nil
}

var errAmount = errors.New("is not a number with a unit B, k, M, G, T or %")

// parseAmount reads a number with a unit; without one it counts by unit. A percent sign may
// be doubled, for in Dovecot's configuration it has to be.
func parseAmount(s string, unit int64) (amount, error) {
	end := len(s)
	for end > 0 && (s[end-1] < '0' || s[end-1] > '9') {
		end--
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil || strings.HasPrefix(s, "+") {
		return amount{}, errAmount
	}
	switch strings.ToUpper(s[end:]) {
	case "":
	case "B":
		unit = 1
	case "K", "KB", "KIB":
		unit = 1 << 10
	case "M", "MB", "MIB":
		unit = 1 << 20
	case "G", "GB", "GIB":
		unit = 1 << 30
	case "T", "TB", "TIB":
		unit = 1 << 40
	case "%", "%%":
		if n <= -100 || n > math.MaxUint32 {
			return amount{}, errors.New("is not a percentage")
		}
		return amount{n, true}, nil
	default:
		return amount{}, errAmount
	}
	if n > math.MaxInt64/unit || n < -math.MaxInt64/unit {
		return amount{}, errors.New("is too large")
	}
	return amount{n: n * unit}, nil
}

// match reports whether a mask, in which * stands for any characters and ? for one,
// matches a name. It takes no more than len(mask)*len(name) steps.
func match(mask, name string) bool {
	m, n := 0, 0
	star, from := -1, 0 // where to go back to
	for n < len(name) {
		switch {
		case m < len(mask) && mask[m] == '*':
			star, from = m, n
			m++
		case m < len(mask) && (mask[m] == '?' || mask[m] == name[n]):
			m++
			n++
		case star >= 0:
			from++
			m, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(mask[m:], "*") == ""
}
