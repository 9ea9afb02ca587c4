package mdbox

import (
	"cmp"
	"math"
	"slices"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// maxRefs is how many messages of mailboxes may share their bytes, as in Dovecot.
const maxRefs = 32768

// match finds out which of the messages the old catalog knows, and under which map UIDs, and
// which are duplicates of others.
func (x *resync) match() {
	place := func(p index.Place) index.Place { return index.Place{File: p.File, Offset: p.Offset} }
	at := make(map[index.Place]*found, len(x.found))
	for i := range x.found {
		at[place(x.found[i].Place)] = &x.found[i]
	}
	taken := map[uint32]bool{}
	var homeless []*index.MapRecord // whose place holds another message, or none
	for i := range x.old.Maps {
		r := &x.old.Maps[i]
		if taken[r.MapUID] || r.MapUID == 0 {
			continue // one of the two is wrong
		}
		taken[r.MapUID] = true
		f := at[place(r.Place)]
		if f == nil || f.known || f.GUID != r.GUID || f.Size != r.Size {
			homeless = append(homeless, r)
			continue
		}
		f.claim(r)
	}
	// Where the records are lost, the list by files may still tell which is which.
	for uid, p := range x.old.Places {
		if f := at[place(p)]; f != nil && f.MapUID == 0 && uid != 0 && !taken[uid] {
			f.MapUID = uid
			taken[uid] = true
		}
	}
	x.target = make(map[uint32]*found, len(x.found))
	for i := range x.found {
		if f := &x.found[i]; f.MapUID != 0 {
			x.target[f.MapUID] = f
		}
	}
	x.matchHomeless(homeless)
	x.dropDuplicates()
	x.number(taken)
}

// claim takes over what the old catalog knows of a message.
func (f *found) claim(r *index.MapRecord) {
	f.MapUID, f.old, f.known = r.MapUID, r.Refs, true
	if r.Physical >= 0 {
		f.Physical = r.Physical
	}
	if r.Virtual >= 0 {
		f.Virtual = r.Virtual
	}
}

// A likeness is what two messages have in common that count as one.
type likeness struct {
	guid string
	size int64
}

// matchHomeless looks for messages that are at other places than the old catalog says: it may
// be older than the files. Those that are referred to come first.
func (x *resync) matchHomeless(list []*index.MapRecord) {
	if len(list) == 0 {
		return
	}
	free, any := map[likeness][]*found{}, map[likeness]*found{}
	for i := range x.found {
		f := &x.found[i]
		l := likeness{f.GUID, f.Stored}
		if any[l] = f; f.MapUID == 0 {
			free[l] = append(free[l], f)
		}
	}
	slices.SortStableFunc(list, func(a, b *index.MapRecord) int { return cmp.Compare(min(1, b.Refs), min(1, a.Refs)) })
	for _, r := range list {
		l := likeness{r.GUID, r.Stored}
		if same := free[l]; len(same) > 0 {
			same[0].claim(r)
			free[l] = same[1:]
			x.target[r.MapUID] = same[0]
		} else if f := any[l]; f != nil {
			x.target[r.MapUID] = f // another one of the same bytes
		}
	}
}

// dropDuplicates lets messages that nobody knows count only if no other has their GUID and
// size, as Dovecot does: they are what an interrupted purge has left.
func (x *resync) dropDuplicates() {
	seen := map[likeness]bool{}
	for _, known := range []bool{true, false} {
		for i := range x.found {
			f := &x.found[i]
			if (f.MapUID != 0) != known {
				continue
			}
			// The same message may have been stored in another form; and of one that is known
			// the size may have been corrected by reading.
			plain, stored := likeness{f.GUID, f.Physical}, likeness{f.GUID, f.Stored}
			if !known && (seen[plain] || seen[stored]) {
				f.dead = true
				x.report.Duplicates++
			}
			seen[plain], seen[stored] = true, true
		}
	}
}

// number gives map UIDs to those that have none. There are 2^32 of them, each given once: of
// a store that has used up half of them, all are given anew.
func (x *resync) number(taken map[uint32]bool) {
	x.nextID = max(1, x.old.Meta.NextMapUID)
	for uid := range taken {
		x.nextID = max(x.nextID, min(uid, math.MaxUint32-1)+1)
	}
	if x.nextID > math.MaxUint32/2 {
		x.nextID, x.old.Meta.MapValidity = 1, 0
		for i := range x.found {
			x.found[i].MapUID = 0
		}
	}
	for i := range x.found {
		if f := &x.found[i]; f.MapUID == 0 {
			f.MapUID = x.nextID
			x.nextID++
		}
	}
}

// refer counts what the mailboxes of the old catalog refer to, and drops what is in no file.
func (x *resync) refer() {
	for _, name := range sortedNames(x.boxes) {
		b := x.boxes[name]
		kept := b.msgs[:0]
		seen := map[mailbox.UID]bool{}
		for _, m := range b.msgs {
			f := x.target[m.MapUID]
			if f == nil || f.Refs == maxRefs || seen[m.UID] || m.UID == math.MaxUint32 {
				x.report.Missing[name]++
				continue
			}
			seen[m.UID] = true
			f.Refs++
			m.MapUID = f.MapUID
			kept = append(kept, m)
		}
		b.msgs = kept
		x.report.Kept += len(b.msgs)
	}
	for i := range x.found {
		f := &x.found[i]
		switch {
		case f.Refs > 0:
			f.dead = false
			x.report.LostCopies += max(0, int(f.old)-int(f.Refs))
		case f.known && f.old == 0:
			f.dead = true
			x.report.Expunged++
		}
	}
}
