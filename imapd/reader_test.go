package imapd

import (
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

func TestFailuresText(t *testing.T) {
	run := func(from, n, step int) (uids []mailbox.UID) {
		for i := range n {
			uids = append(uids, mailbox.UID(from+i*step))
		}
		return uids
	}
	for _, tt := range []struct {
		name string
		f    failures
		want string
	}{
		{"one", failures{[]failure{{"no key", run(7, 1, 1)}}}, "Cannot read or decrypt UID 7 (no key)."},
		{"neighbours are named too", failures{[]failure{{"damaged", []mailbox.UID{1, 2, 3, 7}}}},
			"Cannot read or decrypt UID 1,2,3,7 (damaged)."},
		{"two reasons", failures{[]failure{{"no key", run(1, 2, 1)}, {"damaged", run(9, 1, 1)}}},
			"Cannot read or decrypt UID 1,2 (no key); UID 9 (damaged)."},
		{"too many", failures{[]failure{{"no key", run(1, maxNamed+1, 1)}}},
			"Cannot read or decrypt UID 1:201 (no key)."},
		{"too many after some", failures{[]failure{{"damaged", run(1, 2, 1)}, {"no key", run(10, maxNamed, 1)}}},
			"Cannot read or decrypt UID 1,2 (damaged); UID 10:209 (no key)."},
	} {
		if got := tt.f.text(); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
	scattered := failures{[]failure{{"no key", run(1, 5000, 2)}}}
	if got := scattered.text(); len(got) > 400 || !strings.HasSuffix(got, ",... (no key).") {
		t.Errorf("scattered UIDs make %d octets: %s", len(got), got)
	}
	all := failures{[]failure{{"no key", run(4_000_000_000, maxNamed, 3)}}}
	if got := all.text(); len(got) > 8000 {
		t.Errorf("%d UIDs make a line of %d octets", maxNamed, len(got))
	}
}
