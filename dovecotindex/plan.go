package dovecotindex

import (
	"cmp"
	"fmt"
	"slices"
)

// A step is a log and the place from which it is applied.
type step struct {
	log  *logFile
	from int // offset
	upto int // offset; the log may have more, which did not count when it was replaced
}

// plan says which logs turn a snapshot into the present state. With reset the snapshot is of
// no use: the index was begun anew by a later log. (Dovecot:
// mail_transaction_log_view_set.)
func plan(snap *state, logs []*logFile) (steps []step, reset bool, err error) {
	logs = slices.Clone(logs)
	slices.SortFunc(logs, func(a, b *logFile) int { return cmp.Compare(a.seq, b.seq) })
	if len(logs) == 0 {
		return nil, false, nil
	}
	var seq uint32
	from := 0
	if snap != nil {
		seq, from = snap.hdr.get(hdrLogSeq), int(snap.hdr.get(hdrLogHead))
		for _, l := range logs {
			if l.prevSeq == seq && int(l.prevOffset) == from {
				seq, from = l.seq, l.hdrSize
			}
		}
	}
	first := -1
	for i, l := range logs {
		if l.prevSeq == 0 && (snap == nil || l.seq > seq || l.seq == seq && from <= l.hdrSize) {
			first, reset = i, true
		}
	}
	if !reset {
		first = slices.IndexFunc(logs, func(l *logFile) bool { return l.seq == seq })
		if first < 0 {
			return nil, false, missing(snap, seq, logs)
		}
	}
	for i, l := range logs[first:] {
		s := step{l, l.hdrSize, l.end}
		if i == 0 && !reset {
			if s.from = from; from > l.end || from < l.hdrSize {
				return nil, false, &CorruptError{l.name, int64(from), "the index was written when the log was longer"}
			}
		}
		if i > 0 {
			prev := &steps[i-1]
			if l.prevSeq != prev.log.seq {
				return steps, reset, fmt.Errorf("%w: file %d follows %d", ErrGap, l.seq, prev.log.seq)
			}
			prev.upto = min(prev.upto, max(int(l.prevOffset), prev.from))
		}
		steps = append(steps, s)
	}
	return steps, reset, nil
}

func missing(snap *state, seq uint32, logs []*logFile) error {
	if snap == nil {
		return fmt.Errorf("%w: the first file there is %d, which continues %d, and there is no snapshot",
			ErrGap, logs[0].seq, logs[0].prevSeq)
	}
	return fmt.Errorf("%w: the snapshot needs file %d, and %d is the first there is", ErrGap, seq, logs[0].seq)
}

// replay applies the logs.
func (s *state) replay(steps []step, note func(e *CorruptError)) error {
	for i, st := range steps {
		last := i == len(steps)-1
		if err := s.replayOne(st, note); err != nil {
			return err
		}
		if st.log.damage != nil {
			note(st.log.damage)
		} else if !last && st.log.end != int(steps[i+1].log.prevOffset) {
			note(&CorruptError{st.log.name, int64(st.log.end), fmt.Sprintf("the log ends, and is continued from %d",
				steps[i+1].log.prevOffset)})
		}
	}
	s.compact(true)
	return nil
}

// replayOne applies one log. What stands before the place to begin is only counted, for its
// modseqs. A record that does not fit is noted and left out; a malformed one ends the log.
func (s *state) replayOne(st step, note func(e *CorruptError)) error {
	l := st.log
	s.modseq = l.initial
	s.current = current{}
	s.tail = 0
	if s.hdr.get(hdrLogSeq) == l.seq {
		s.tail = int(s.hdr.get(hdrLogTail))
	}
	at := l.hdrSize
	for at < st.upto {
		r, ok, err := l.next(at)
		if err != nil || !ok {
			break // scan has been here
		}
		if at < st.from && at+recordHeader+len(r.data) > st.from {
			note(&CorruptError{l.name, int64(st.from), "the index continues at a place where no record begins"})
		}
		s.modseq = l.tick(s.modseq, r)
		if at >= st.from {
			if err := s.apply(r); err != nil {
				e, ok := err.(*errRecord)
				if !ok {
					return err
				}
				note(&CorruptError{l.name, int64(at), e.reason})
				if e.fatal {
					break
				}
			}
		}
		at += recordHeader + len(r.data)
		s.tail = syncTail(s.tail, r, at)
	}
	if s.tail == 0 {
		s.tail = l.hdrSize
	}
	return nil
}
