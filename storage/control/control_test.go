package control

import (
	"bytes"
	"slices"
	"testing"
)

func TestSubscriptionsFile(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		version  int
		keys     []string
	}{
		{"none", "", 2, nil},
		{"version 2", "V\t2\n\nINBOX\nWork\tZw&APY-lf\nB&AOQ-r &- co\nWork\tZw&APY-lf\n", 2, []string{"INBOX", "Work.Zw&APY-lf", "B&AOQ-r &- co"}},
		{"version 1", "INBOX\nWork.A\n", 1, []string{"INBOX", "Work.A"}},
		{"escaped", "V\t2\n\na\x01tb\n\x01x\n", 2, []string{"a\tb", ""}},
		{"no end of line", "V\t2\n\nA", 2, []string{"A"}},
		{"separator inside", "V\t2\n\na.b\n", 2, []string{""}},
	} {
		s := parseSubscriptions([]byte(tt.in))
		var keys []string
		for _, l := range s.lines {
			keys = append(keys, s.key(l, '.'))
		}
		if s.version != tt.version || !slices.Equal(keys, tt.keys) {
			t.Errorf("%s: version %d, %q", tt.name, s.version, keys)
		}
	}
}

func FuzzSubscriptions(f *testing.F) {
	f.Add("V\t2\n\nINBOX\nWork\tZw&APY-lf\na\x01tb\n")
	f.Add("INBOX\nWork.A\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSubscriptions([]byte(text))
		var b bytes.Buffer
		if err := s.write(&b); err != nil {
			t.Fatal(err)
		}
		again := parseSubscriptions(b.Bytes())
		if !slices.Equal(again.lines, s.lines) || len(s.lines) > 0 && again.version != s.version {
			t.Errorf("%+v comes back as %+v", s, again)
		}
		for _, l := range s.lines {
			if key := s.key(l, '.'); key != "" && s.version == 2 && s.key(s.line(key, '.'), '.') != key {
				t.Errorf("line %q has key %q", l, key)
			}
		}
	})
}
