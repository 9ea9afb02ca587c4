package index

import (
	"cmp"
	"slices"
)

// lateRecords are records that wait to be written, as they came: of several of one UID the last
// counts. A change of the flags of a whole mailbox costs nothing here until it is written.
type lateRecords struct {
	parts  [][]Record
	total  int
	merged int // of total, at the last merge
}

// someRecords is how many records may wait beside those that were merged, and as many again as
// these: who changes one message again and again while the disk is full does not fill the memory.
const someRecords = 4096

func newLateRecords(list []Record) lateRecords {
	if len(list) == 0 {
		return lateRecords{}
	}
	return lateRecords{parts: [][]Record{list}, total: len(list)}
}

// then adds later records.
func (l *lateRecords) then(later lateRecords) {
	l.parts = append(l.parts, later.parts...)
	if l.total += later.total; len(l.parts) > 1 && l.total > 2*l.merged+someRecords {
		list := l.newest()
		l.parts, l.total, l.merged = [][]Record{list}, len(list), len(list)
	}
}

// newest returns the last record of each UID, sorted. The caller does not change it.
func (l *lateRecords) newest() []Record {
	byUID := func(a, b Record) int { return cmp.Compare(a.UID, b.UID) }
	if n := len(l.parts); n > 0 && n <= fewParts && !slices.ContainsFunc(l.parts, func(p []Record) bool { return !ascending(p) }) {
		list := l.parts[0]
		for _, p := range l.parts[1:] {
			list = mergeRecords(list, p)
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

// mergeRecords merges two ascending lists, of which the second is newer.
func mergeRecords(old, newer []Record) []Record {
	list := make([]Record, 0, max(len(old), len(newer)))
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
func ascending(list []Record) bool {
	for i := 1; i < len(list); i++ {
		if list[i].UID <= list[i-1].UID {
			return false
		}
	}
	return true
}
