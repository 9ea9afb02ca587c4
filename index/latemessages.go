package index

import (
	"cmp"
	"slices"

	"mailcrypt/mailbox"
)

// lateMessages are messages that wait to be written, as they came: of several of one UID the last
// counts. A change of the flags of a whole mailbox costs nothing here until it is written.
type lateMessages struct {
	parts  [][]*mailbox.Message
	total  int
	merged int // of total, at the last merge
}

// someMessages is how many messages may wait beside those that were merged, and as many again as
// these: who changes one message again and again while the disk is full does not fill the memory.
const someMessages = 4096

func newLateMessages(list []*mailbox.Message) lateMessages {
	if len(list) == 0 {
		return lateMessages{}
	}
	return lateMessages{parts: [][]*mailbox.Message{list}, total: len(list)}
}

// then adds later records.
func (l *lateMessages) then(later lateMessages) {
	l.parts = append(l.parts, later.parts...)
	if l.total += later.total; len(l.parts) > 1 && l.total > 2*l.merged+someMessages {
		list := l.newest()
		l.parts, l.total, l.merged = [][]*mailbox.Message{list}, len(list), len(list)
	}
}

// newest returns the last message of each UID, sorted. The caller does not change it.
func (l *lateMessages) newest() []*mailbox.Message {
	byUID := func(a, b *mailbox.Message) int { return cmp.Compare(a.UID, b.UID) }
	if n := len(l.parts); n > 0 && n <= fewParts && !slices.ContainsFunc(l.parts, func(p []*mailbox.Message) bool { return !ascending(p) }) {
		list := l.parts[0]
		for _, p := range l.parts[1:] {
			list = mergeMessages(list, p)
		}
		return list
	}
	list := slices.Concat(l.parts...)
	slices.SortStableFunc(list, byUID)
	kept := list[:0]
	for i, r := range list {
		if i+1 == len(list) || list[i+1].UID != r.UID {
			kept = append(kept, r)
		}
	}
	return kept
}

// fewParts is how many parts are merged one after the other.
const fewParts = 8

// mergeMessages merges two ascending lists, of which the second is newer.
func mergeMessages(old, newer []*mailbox.Message) []*mailbox.Message {
	list := make([]*mailbox.Message, 0, max(len(old), len(newer)))
	for len(old) > 0 && len(newer) > 0 {
		switch {
		case old[0].UID < newer[0].UID:
			list, old = append(list, old[0]), old[1:]
		case old[0].UID == newer[0].UID:
			old = old[1:]
		default:
			list, newer = append(list, newer[0]), newer[1:]
		}
	}
	return append(append(list, old...), newer...)
}

// ascending reports whether each UID is above the one before.
func ascending(list []*mailbox.Message) bool {
	for i := 1; i < len(list); i++ {
		if list[i].UID <= list[i-1].UID {
			return false
		}
	}
	return true
}

// lateRecord is what the catalog keeps of a message. Its save date stays as it is.
func lateRecord(m *mailbox.Message) Record {
	r := Record{UID: m.UID, ModSeq: m.ModSeq, Flags: m.Flags, Physical: m.Sizes.Physical, Virtual: m.Sizes.Virtual}
	r.Flags.System &^= mailbox.Recent
	return r
}
