package imapd

import (
	"slices"
	"strings"
	"testing"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// FuzzQresync gives the parameter of SELECT any text: what is taken must hold for a mailbox by
// the definition, whatever its sets span.
func FuzzQresync(f *testing.F) {
	for _, s := range []string{"(1 2)", "(1 2 1:4,9)", "(1 2 1:4294967295 (1:3 2,3,7))", "(1 2 (1,4 2,9))", "(0 0 9:1)",
		"(1 9223372036854775807 (1:4294967295 1:4294967295))", "(1 1 1 (1 1) 1)", "(1 1 *)"} {
		f.Add(s)
	}
	var msgs []*mailbox.Message
	uids := []mailbox.UID{2, 3, 7, 9, 4294967293}
	for _, uid := range uids {
		msgs = append(msgs, &mailbox.Message{UID: uid})
	}
	v := mailbox.NewView(mailbox.View{UIDNext: 4294967295}, msgs)
	f.Fuzz(func(t *testing.T, in string) {
		d := imapwire.NewDecoder(strings.NewReader(in+"\r\n"), imapwire.Limits{})
		if d.Next() != nil {
			return
		}
		r, err := readResync(d)
		if err != nil {
			return
		}
		seen := r.agreed(v)
		if seen != 0 && !slices.Contains(uids, seen) {
			t.Fatalf("agrees up to UID %d, which does not exist", seen)
		}
		last := uint32(seen)
		for _, x := range missing(v, r.known, seen) {
			if x.Start <= last && last > 0 || x.Stop < x.Start || x.Stop >= uint32(v.UIDNext) || !inRanges(r.known, x.Start) || !inRanges(r.known, x.Stop) {
				t.Fatalf("missing %v after %d", x, last)
			}
			for _, uid := range uids {
				if x.Start <= uint32(uid) && uint32(uid) <= x.Stop {
					t.Fatalf("missing %v, and %d exists", x, uid)
				}
			}
			last = x.Stop
		}
	})
}
