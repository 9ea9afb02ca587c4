package quota

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// settings gives Parse a map.
func settings(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// rules parses rules in their order.
func rules(t testing.TB, list ...string) *Policy {
	t.Helper()
	m := map[string]string{}
	for i, r := range list {
		m[[]string{"quota_rule", "quota_rule2", "quota_rule3", "quota_rule4"}[i]] = r
	}
	p, err := Parse(settings(m))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRules(t *testing.T) {
	const none = NoLimit
	for _, tt := range []struct {
		rules   []string
		mailbox string
		want    Limits
		ignored bool
	}{
		{nil, "INBOX", Limits{none, none}, false},
		{[]string{"*:storage=1G:messages=1000"}, "INBOX", Limits{1 << 30, 1000}, false},
		{[]string{"?:storage=10"}, "INBOX", Limits{10 << 10, none}, false},
		{[]string{"*:bytes=10"}, "INBOX", Limits{10, none}, false},
		{[]string{"*:bytes=10k"}, "INBOX", Limits{10 << 10, none}, false},
		{[]string{"*:bytes=2T"}, "INBOX", Limits{2 << 40, none}, false},
		{[]string{"*:storage=7B"}, "INBOX", Limits{7, none}, false},
		{[]string{"*:storage=10MB"}, "INBOX", Limits{10 << 20, none}, false},
		{[]string{"*:messages=2k"}, "INBOX", Limits{none, 2048}, false},
		{[]string{"*:storage=0"}, "INBOX", Limits{none, none}, false},
		{[]string{"*:storage=1M", "Trash:storage=+100M"}, "Trash", Limits{101 << 20, none}, false},
		{[]string{"*:storage=1M", "Trash:storage=100M"}, "Trash", Limits{101 << 20, none}, false},
		{[]string{"*:storage=1M", "Trash:storage=+100M"}, "Trash/x", Limits{1 << 20, none}, false},
		{[]string{"*:bytes=1000", "Trash:storage=+10%"}, "Trash", Limits{1100, none}, false},
		{[]string{"*:bytes=1000:messages=50", "Trash:storage=+10%%:messages=-10%%"}, "Trash", Limits{1100, 45}, false},
		{[]string{"Trash:storage=+10%", "*:bytes=1000"}, "Trash", Limits{1100, none}, false}, // the order does not matter
		{[]string{"*:bytes=1000", "Drafts:bytes=-400"}, "Drafts", Limits{600, none}, false},
		{[]string{"*:bytes=1000", "Drafts:bytes=-4000"}, "Drafts", Limits{0, none}, false},
		{[]string{"*:messages=10", "Trash:bytes=+5"}, "Trash", Limits{none, 10}, false},
		{[]string{"*:bytes=1000", "SPAM:ignore"}, "SPAM", Limits{none, none}, true},
		{[]string{"*:bytes=1000", "SPAM:ignore"}, "spam", Limits{1000, none}, false},
		{[]string{"*:bytes=1000", "inbox:bytes=+1"}, "INBOX", Limits{1001, none}, false},
		{[]string{"*:bytes=1000", "A*:bytes=+1", "Ab:bytes=+5"}, "Ab", Limits{1001, none}, false},
		{[]string{"*:bytes=1000", "Archive/*:ignore"}, "Archive/2024/x", Limits{none, none}, true},
		{[]string{"*:bytes=1000", "A?c:bytes=+1"}, "Abc", Limits{1001, none}, false},
		{[]string{"*:bytes=1000", "T:bytes=+1", "T:messages=+1", "T:bytes=+3"}, "T", Limits{1003, none}, false},
		{[]string{"*:bytes=1", "*:bytes=2"}, "x", Limits{2, none}, false},
		{[]string{"*:bytes=9223372036854775807", "T:bytes=+1"}, "T", Limits{none, none}, false},
		{[]string{"*:bytes=9223372036854775806", "T:bytes=+200%"}, "T", Limits{none, none}, false},
		{[]string{"*:ignore"}, "x", Limits{none, none}, false},
	} {
		p := rules(t, tt.rules...)
		if got := p.For(tt.mailbox); got != tt.want {
			t.Errorf("%q for %s: %+v, want %+v", tt.rules, tt.mailbox, got, tt.want)
		}
		if got := p.Ignores(tt.mailbox); got != tt.ignored {
			t.Errorf("%q ignores %s: %v", tt.rules, tt.mailbox, got)
		}
	}
}

func TestBadSettings(t *testing.T) {
	for name, list := range map[string][]string{
		"quota": {"fs:User quota", "imapc:x", "nothing", "count:x:ns=Public/", "count:a\nb"},
		"quota_rule": {"", "*", "storage=1G", "*:", "*:storage", "*:storage=", "*:storage=x", "*:storage=1X", "*:storage=+1", "*:storage=-1",
			"*:storage=10%", "*:size=1", "T:storage=-100%", "T:storage=+-1", "*:storage=9999999999T", "*:storage=1G:", "*:ignore:storage=1", "T:Ignore",
			"*:storage= 1", "*:storage=1.5G", "*:storage=99999999999999999999"},
		"quota_grace":            {"x", "", "-1", "-5%", "1X"},
		"quota_max_mail_size":    {"-1", "x", "10%"},
		"quota_exceeded_message": {"a\r\nb", strings.Repeat("x", 501)},
		"quota_full_tempfail":    {"perhaps"},
		"quota2":                 {"count:Second"},
	} {
		for _, value := range list {
			m := map[string]string{name: value}
			if _, err := Parse(settings(m)); !errors.Is(err, ErrSetting) {
				t.Errorf("%s = %q: %v, want ErrSetting", name, value, err)
			}
		}
	}
}

func TestPolicy(t *testing.T) {
	parse := func(pairs ...string) *Policy {
		t.Helper()
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		p, err := Parse(settings(m))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := parse(); p != nil {
		t.Errorf("without settings: %+v", p)
	}
	if p := parse("quota", "", "quota_rule", "*:bytes=1"); p != nil {
		t.Errorf("an empty quota: %+v", p)
	}
	if p := parse("quota_rule", "*:bytes=1"); p.Root != "User quota" || p.Message != "Quota exceeded (mailbox for user is full)" || p.Hidden {
		t.Errorf("defaults: %+v", p)
	}
	for quota, root := range map[string]string{"count:Mine": "Mine", "maildir:User quota": "User quota", "count:": "", "count": "User quota",
		"dict:Dict:user:noenforcing:file:/x:y": "Dict", "count:A:hidden": "A"} {
		if p := parse("quota", quota); p.Root != root {
			t.Errorf("%s has the root %q, want %q", quota, p.Root, root)
		}
	}
	if p := parse("quota", "count:A:hidden:noenforcing", "quota_rule", "*:bytes=1"); !p.Hidden || !p.For("x").Unlimited() || p.Limits().Bytes != 1 {
		t.Errorf("parameters: %+v, %+v", p, p.For("x"))
	}
	if p := parse("quota", "dict:D:u:noenforcing:file:/x", "quota_rule", "*:bytes=1"); !p.For("x").Unlimited() {
		t.Error("noenforcing of dict was not seen")
	}
	if p := parse("quota_max_mail_size", "2k"); p.MaxMailSize != 2048 || !p.Hidden || !p.Limits().Unlimited() {
		t.Errorf("a maximum alone: %+v", p)
	}
	p := parse("quota_rule", "*:bytes=1000", "quota_grace", "50", "quota_full_tempfail", "yes", "quota_exceeded_message", "Full.")
	if e := p.Exceeded(); p.Grace() != 50 || e.Text != "Full." || !e.Temporary || !errors.Is(e, ErrExceeded) {
		t.Errorf("%+v, %+v", p, p.Exceeded())
	}
	if g := parse("quota_rule", "*:bytes=1000").Grace(); g != 100 {
		t.Errorf("default grace %d, want 10%% of 1000", g)
	}
	if g := parse("quota_rule", "*:messages=1000").Grace(); g != 0 {
		t.Errorf("grace without a limit of bytes: %d", g)
	}
	var none *Policy
	if !none.Limits().Unlimited() || !none.For("x").Unlimited() || none.Ignores("x") || none.Grace() != 0 {
		t.Error("a nil policy limits something")
	}
}

func TestAllow(t *testing.T) {
	for _, tt := range []struct {
		limits    Limits
		used, add Usage
		grace     int64
		want      bool
	}{
		{Limits{NoLimit, NoLimit}, Usage{math.MaxInt64, math.MaxInt64}, Usage{1, 1}, 0, true},
		{Limits{100, NoLimit}, Usage{90, 5}, Usage{10, 1}, 0, true},
		{Limits{100, NoLimit}, Usage{90, 5}, Usage{11, 1}, 0, false},
		{Limits{100, NoLimit}, Usage{90, 5}, Usage{20, 1}, 10, true},
		{Limits{100, NoLimit}, Usage{90, 5}, Usage{21, 1}, 10, false},
		{Limits{100, NoLimit}, Usage{100, 5}, Usage{1, 1}, 10, false}, // no grace for who is full
		{Limits{100, NoLimit}, Usage{100, 5}, Usage{0, 1}, 0, true},
		{Limits{100, NoLimit}, Usage{101, 5}, Usage{0, 1}, 10, false},
		{Limits{100, NoLimit}, Usage{0, 0}, Usage{math.MaxInt64, 1}, math.MaxInt64, true},
		{Limits{100, NoLimit}, Usage{1, 0}, Usage{50, 1}, -80, true},
		{Limits{NoLimit, 5}, Usage{0, 4}, Usage{9, 1}, 0, true},
		{Limits{NoLimit, 5}, Usage{0, 5}, Usage{9, 1}, 100, false},
		{Limits{NoLimit, 5}, Usage{0, 3}, Usage{9, 3}, 0, false},
		{Limits{NoLimit, 5}, Usage{0, math.MaxInt64}, Usage{0, 1}, 0, false},
		{Limits{0, NoLimit}, Usage{0, 0}, Usage{1, 1}, 0, false},
	} {
		if got := tt.limits.Allow(tt.used, tt.add, tt.grace); got != tt.want {
			t.Errorf("%+v: %+v to %+v with grace %d: %v", tt.limits, tt.add, tt.used, tt.grace, got)
		}
	}
	if u := (Usage{math.MaxInt64, 1}).Add(Usage{1, 1}); u != (Usage{math.MaxInt64, 2}) {
		t.Errorf("sum %+v", u)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("*:storage=1G:messages=1000", "Trash:storage=+10%%", "10%", "count:User quota", "Trash", int64(5), int64(7))
	f.Add("?:bytes=9223372036854775807", "A*b?:ignore", "50M", "maildir:x:hidden", "A12b3", int64(-5), int64(math.MaxInt64))
	f.Add("*:bytes=100", "T:bytes=-99%:messages=-1", "4294967295%", "dict:a:b:noenforcing", "T", int64(math.MinInt64), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, rule, rule2, grace, root, mailbox string, used, add int64) {
		p, err := Parse(settings(map[string]string{"quota_rule": rule, "quota_rule2": rule2, "quota_grace": grace, "quota": root}))
		if err != nil {
			if !errors.Is(err, ErrSetting) {
				t.Fatalf("%v is no ErrSetting", err)
			}
			return
		}
		l := p.For(mailbox)
		if l.Bytes < 0 || l.Messages < 0 || p.Grace() < 0 {
			t.Fatalf("%+v, grace %d", l, p.Grace())
		}
		if p.Ignores(mailbox) && !l.Unlimited() {
			t.Fatal("ignored and limited")
		}
		used, add = max(used, 0), max(add, 0)
		allowed := l.Allow(Usage{used, used}, Usage{add, 1}, p.Grace())
		if allowed && add > 1 && !l.Allow(Usage{used, used}, Usage{add - 1, 1}, p.Grace()) {
			t.Fatal("a larger message is allowed and a smaller one is not")
		}
		if allowed && used > 1 && !l.Allow(Usage{used - 1, used - 1}, Usage{add, 1}, p.Grace()) {
			t.Fatal("allowed with more in the mailbox and not with less")
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("A*b?c", "Axxbyc")
	f.Add("***", "")
	f.Add("*a*a*a*a*b", strings.Repeat("a", 50))
	f.Fuzz(func(t *testing.T, mask, name string) {
		if len(mask) > 200 || len(name) > 200 {
			return
		}
		if got, want := match(mask, name), slow(mask, name); got != want {
			t.Fatalf("match(%q, %q) = %v", mask, name, got)
		}
	})
}

// slow matches by a table of all prefixes.
func slow(mask, name string) bool {
	ok := make([]bool, len(name)+1)
	ok[0] = true
	for i := range len(mask) {
		next := make([]bool, len(name)+1)
		for j := range len(name) + 1 {
			switch {
			case mask[i] == '*':
				next[j] = ok[j] || j > 0 && next[j-1]
			case j > 0 && (mask[i] == '?' || mask[i] == name[j-1]):
				next[j] = ok[j-1]
			}
		}
		ok = next
	}
	return ok[len(name)]
}
