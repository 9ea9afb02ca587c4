package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mailcrypt/mailbox"
)

// TestLateMessages: of what waits the last state of each UID counts, in whatever parts they came,
// and what changes again and again does not pile up.
func TestLateMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, uids := range []int{1, 5, 3000} {
		t.Run(fmt.Sprint(uids), func(t *testing.T) {
			var l lateMessages
			want := map[mailbox.UID]mailbox.ModSeq{}
			modseq := mailbox.ModSeq(0)
			for range 2000 {
				var part []*mailbox.Message
				for range r.IntN(10) {
					modseq++
					uid := mailbox.UID(r.IntN(uids) + 1)
					part = append(part, &mailbox.Message{UID: uid, ModSeq: modseq})
					want[uid] = modseq
				}
				l.then(newLateMessages(part))
				if l.total > 2*len(want)+someMessages+10 {
					t.Fatalf("%d wait for %d messages", l.total, len(want))
				}
			}
			got := l.newest()
			if !slices.IsSortedFunc(got, func(a, b *mailbox.Message) int { return int(a.UID) - int(b.UID) }) || len(got) != len(want) {
				t.Fatalf("%d for %d messages", len(got), len(want))
			}
			for _, m := range got {
				if m.ModSeq != want[m.UID] {
					t.Errorf("UID %d has modseq %d, not %d", m.UID, m.ModSeq, want[m.UID])
				}
			}
		})
	}
}
