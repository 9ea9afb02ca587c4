package imapwire

import (
	"slices"
	"strconv"
)

// Star stands for "*" in a Range: the largest number in use.
const Star uint32 = 0

// A Range is an inclusive range of message numbers or UIDs as it was written: Start
// may be above Stop, and either may be Star.
type Range struct{ Start, Stop uint32 }

// A Set is a sequence-set (RFC 9051 section 9). Saved is "$", the result of the last
// search that was saved (RFC 5182); Ranges is empty then.
type Set struct {
	Ranges []Range
	Saved  bool
}

// Set reads a sequence-set.
func (d *Decoder) Set() (Set, error) {
	if d.Try('$') {
		return Set{Saved: true}, nil
	}
	var s Set
	for {
		start, err := d.setNumber()
		if err != nil {
			return Set{}, err
		}
		r := Range{start, start}
		if d.Try(':') {
			if r.Stop, err = d.setNumber(); err != nil {
				return Set{}, err
			}
		}
		s.Ranges = append(s.Ranges, r)
		if !d.Try(',') {
			return s, nil
		}
	}
}

// setNumber reads a seq-number.
func (d *Decoder) setNumber() (uint32, error) {
	if d.Try('*') {
		return Star, nil
	}
	n, err := d.NZNumber()
	if err != nil {
		return 0, syntaxf("Invalid message set.")
	}
	return n, nil
}

// Resolve returns the set as sorted ranges that neither overlap nor touch, with Star
// replaced by last. An empty mailbox has last 0, and the result is empty then.
func (s Set) Resolve(last uint32) []Range {
	if last == 0 {
		return nil
	}
	out := make([]Range, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		if r.Start == Star {
			r.Start = last
		}
		if r.Stop == Star {
			r.Stop = last
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Range) int {
		if a.Start != b.Start {
			if a.Start < b.Start {
				return -1
			}
			return 1
		}
		return 0
	})
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && (merged[n-1].Stop == 1<<32-1 || r.Start <= merged[n-1].Stop+1) {
			merged[n-1].Stop = max(merged[n-1].Stop, r.Stop)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// AppendSet appends numbers as a set, in the order given, with runs shortened to
// ranges.
func AppendSet[N ~uint32](b []byte, numbers []N) []byte {
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(numbers[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(numbers[j]), 10)
		}
		i = j + 1
	}
	return b
}
