package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mailcrypt/mailbox"
)

// TestLateRecords: of what waits the last record of each UID counts, in whatever parts they came,
// and what changes again and again does not pile up.
func TestLateRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, uids := range []int{1, 5, 3000} {
		t.Run(fmt.Sprint(uids), func(t *testing.T) {
			var l lateRecords
			want := map[mailbox.UID]mailbox.ModSeq{}
			modseq := mailbox.ModSeq(0)
			for range 2000 {
				var part []Record
				for range r.IntN(10) {
					modseq++
					uid := mailbox.UID(r.IntN(uids) + 1)
					part = append(part, Record{UID: uid, ModSeq: modseq})
					want[uid] = modseq
				}
				l.then(newLateRecords(part))
				if l.total > 2*len(want)+someRecords+10 {
					t.Fatalf("%d records wait for %d messages", l.total, len(want))
				}
			}
			got := l.newest()
			if !slices.IsSortedFunc(got, func(a, b Record) int { return int(a.UID) - int(b.UID) }) || len(got) != len(want) {
				t.Fatalf("%d records for %d messages", len(got), len(want))
			}
			for _, rec := range got {
				if rec.ModSeq != want[rec.UID] {
					t.Errorf("UID %d has modseq %d, not %d", rec.UID, rec.ModSeq, want[rec.UID])
				}
			}
		})
	}
}
