package quota

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// ErrSetting reports a setting that cannot be used.
var ErrSetting = errors.New("quota: bad setting")

const (
	defaultRoot    = "User quota"
	defaultGrace   = "10%"
	defaultMessage = "Quota exceeded (mailbox for user is full)"
	// maxRules and maxText bound what a user database may make us hold.
	maxRules = 1000
	maxText  = 500
)

// A Policy is one user's quota. A nil Policy limits nothing. It is not changed after
// Parse, so all methods may be called concurrently.
type Policy struct {
	Root     string // name of the quota root
	Hidden   bool   // not shown to clients
	Message  string // what those are told who exceed it
	TempFail bool   // a delivery above it is deferred, not refused
	// MaxMailSize is the size of the largest message in bytes; 0 is no limit.
	MaxMailSize int64

	enforced bool
	user     rule
	rules    []*rule // in order
	grace    amount
}

// Parse reads the settings of a user by their names in Dovecot: quota, quota_rule,
// quota_rule2 and so on up to the first that is missing, quota_grace,
// quota_max_mail_size, quota_exceeded_message and quota_full_tempfail. get returns a
// setting and whether it is there. Without quota and rules the Policy is nil, unless
// something else is limited; an empty quota turns rules off. The error wraps ErrSetting.
func Parse(get func(name string) (string, bool)) (*Policy, error) {
	p := &Policy{Root: defaultRoot, Message: defaultMessage, enforced: true}
	root, named := get("quota")
	_, ruled := get("quota_rule")
	active := named && root != "" || !named && ruled
	for _, step := range []func() error{
		func() error { return p.parseRoot(root) },
		func() error { return p.parseRules(get) },
		func() error { return p.parseGrace(get) },
		func() error { return p.parseRest(get) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSetting, err)
		}
	}
	if !active {
		if p.MaxMailSize == 0 {
			return nil, nil
		}
		p.Hidden, p.user, p.rules = true, rule{}, nil
	}
	return p, nil
}

// parseRoot reads driver[:name[:parameters]]. All drivers that count mail are one here;
// those that ask somebody else are refused, for their limits would be lost.
func (p *Policy) parseRoot(s string) error {
	if s == "" {
		return nil
	}
	driver, rest, named := strings.Cut(s, ":")
	name, params, _ := strings.Cut(rest, ":")
	switch driver {
	case "count", "maildir", "dirsize", "dict":
	default:
		return fmt.Errorf("quota: the driver %.40q is not supported; write count:%s", driver, defaultRoot)
	}
	if named {
		p.Root = name
	}
	if len(p.Root) > maxText || hasControl(p.Root) {
		return errors.New("quota: bad name of a quota root")
	}
	if driver == "dict" { // dict:name:user:[parameters:]uri
		_, params, _ = strings.Cut(params, ":")
	}
	for part := range strings.SplitSeq(params, ":") {
		switch {
		case part == "hidden":
			p.Hidden = true
		case part == "noenforcing":
			p.enforced = false
		case part == "", part == "ignoreunlimited":
		case driver == "count":
			return fmt.Errorf("quota: the parameter %.40q is not supported", part)
		}
	}
	return nil
}

func (p *Policy) parseRules(get func(string) (string, bool)) error {
	if _, ok := get("quota2"); ok {
		return errors.New("quota2: only one quota root is supported")
	}
	for n := 1; ; n++ {
		name := "quota_rule"
		if n > 1 {
			name += strconv.Itoa(n)
		}
		text, ok := get(name)
		switch {
		case !ok:
			return nil
		case n > maxRules:
			return fmt.Errorf("%s: more than %d rules", name, maxRules)
		}
		if err := p.addRule(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

func (p *Policy) parseGrace(get func(string) (string, bool)) (err error) {
	text, ok := get("quota_grace")
	if !ok {
		text = defaultGrace
	}
	if p.grace, err = parseAmount(text, 1); err != nil || p.grace.n < 0 {
		return fmt.Errorf("quota_grace: %q is not a size such as 10%% or 50M", clip(text))
	}
	return nil
}

func (p *Policy) parseRest(get func(string) (string, bool)) error {
	if text, ok := get("quota_max_mail_size"); ok && text != "" {
		a, err := parseAmount(text, 1)
		if err != nil || a.n < 0 || a.percent {
			return fmt.Errorf("quota_max_mail_size: %q is not a size such as 50M", clip(text))
		}
		p.MaxMailSize = a.n
	}
	if text, ok := get("quota_exceeded_message"); ok && text != "" {
		if len(text) > maxText || hasControl(text) {
			return errors.New("quota_exceeded_message: too long, or not one line")
		}
		p.Message = text
	}
	if text, ok := get("quota_full_tempfail"); ok {
		switch strings.ToLower(text) {
		case "yes", "y", "true", "1", "on":
			p.TempFail = true
		case "no", "n", "false", "0", "off", "":
		default:
			return errors.New("quota_full_tempfail: must be yes or no")
		}
	}
	return nil
}

// Limits are the user's, which clients are shown.
func (p *Policy) Limits() Limits {
	if p == nil {
		return Limits{NoLimit, NoLimit}
	}
	return Limits{p.user.bytes.limit(), p.user.messages.limit()}
}

// Ignores reports whether what is in a mailbox does not count.
func (p *Policy) Ignores(mailbox string) bool {
	if p == nil {
		return false
	}
	r := p.find(mailbox)
	return r != nil && r.ignore
}

// For returns what the user's usage may be when something is saved to a mailbox. Where
// the user is not limited, no mailbox is; where a rule takes away more than there is,
// nothing may be saved. (Dovecot limits the mailbox in the first case, and nothing in the
// second.)
func (p *Policy) For(mailbox string) Limits {
	l := p.Limits()
	if p == nil || !p.enforced {
		return Limits{NoLimit, NoLimit}
	}
	r := p.find(mailbox)
	if r == nil {
		return l
	}
	if r.ignore {
		return Limits{NoLimit, NoLimit}
	}
	if l.Bytes != NoLimit {
		l.Bytes = max(0, saturate(l.Bytes, r.bytes.of(l.Bytes)))
	}
	if l.Messages != NoLimit {
		l.Messages = max(0, saturate(l.Messages, r.messages.of(l.Messages)))
	}
	return l
}

// Grace is by how many bytes a delivery may go beyond the limit.
func (p *Policy) Grace() int64 {
	if p == nil {
		return 0
	}
	l := p.Limits().Bytes
	if l == NoLimit {
		return 0
	}
	return p.grace.of(l)
}

// Exceeded is the error for who exceeds the quota.
func (p *Policy) Exceeded() *Error { return &Error{Text: p.Message, Temporary: p.TempFail} }

// find returns the rule of a mailbox, or nil.
func (p *Policy) find(mailbox string) *rule {
	for _, r := range p.rules {
		if match(r.mask, mailbox) {
			return r
		}
	}
	return nil
}

// of resolves an amount that may be a percentage.
func (a amount) of(whole int64) int64 {
	if !a.percent {
		return a.n
	}
	if a.n < 0 {
		return -percentOf(whole, -a.n)
	}
	return percentOf(whole, a.n)
}

// percentOf is n percent of whole, at most NoLimit.
func percentOf(whole, n int64) int64 {
	hi, lo := bits.Mul64(uint64(whole), uint64(n))
	if hi >= 100 {
		return NoLimit
	}
	q, _ := bits.Div64(hi, lo, 100)
	if q > uint64(NoLimit) {
		return NoLimit
	}
	return int64(q)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// clip shortens what is quoted in an error.
func clip(s string) string { return s[:min(len(s), 60)] }
