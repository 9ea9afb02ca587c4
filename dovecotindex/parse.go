package dovecotindex

import (
	"fmt"
	"io/fs"
)

// Files are the contents of an index's files; nil is a file that is not there.
type Files struct {
	Index  []byte // X: the snapshot
	Backup []byte // X.backup: an older one
	Log    []byte // X.log
	Log2   []byte // X.log.2: the log before
}

// Parse computes the state of an index from its files: the snapshot, or where it cannot be
// used the backup, or the empty state, and all that the logs say since.
//
// Where an error is returned together with an Index, the Index is what could be made out,
// for those who want to save what there is: the error is then a *[CorruptError], or wraps
// [ErrGap]. [Index.Damage] has all that was found, also what did no harm because another file
// made up for it. A transaction that is not complete, because it is being written or its
// writer was killed, is no damage: nothing of it is applied, as Dovecot does.
//
// Without any Index the error wraps fs.ErrNotExist (no files), [ErrTooLarge], or is a
// *CorruptError. Parse keeps nothing of f.
func Parse(f Files) (*Index, error) {
	p := &parser{f: f}
	if f.Index == nil && f.Backup == nil && f.Log == nil && f.Log2 == nil {
		return nil, fmt.Errorf("dovecotindex: no index: %w", fs.ErrNotExist)
	}
	p.parseLogs()
	var first error
	for _, from := range []struct {
		name string
		b    []byte
		none bool
	}{{fileIndex, f.Index, false}, {fileBackup, f.Backup, false}, {"", nil, true}} {
		if from.b == nil && !from.none {
			continue
		}
		x, err := p.try(from.name, from.b)
		if x != nil {
			x.Damage = append(p.damage, x.Damage...)
			return x, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

type parser struct {
	f      Files
	logs   []*logFile
	damage []*CorruptError // of files that are not used
	broken error           // why the newest log cannot be used
}

// parseLogs reads the logs. Two of one number are one file that is being renamed.
func (p *parser) parseLogs() {
	for _, l := range []struct {
		name string
		b    []byte
	}{{fileLog, p.f.Log}, {fileLog2, p.f.Log2}} {
		if l.b == nil {
			continue
		}
		log, err := parseLog(l.name, l.b)
		if err != nil {
			p.note(err)
			continue
		}
		if len(p.logs) > 0 && p.logs[0].seq == log.seq {
			continue
		}
		p.logs = append(p.logs, log)
	}
}

func (p *parser) note(e *CorruptError) {
	p.damage = append(p.damage, e)
	if e.File == fileLog {
		p.broken = e
	}
}

func (p *parser) size() int64 {
	return int64(len(p.f.Index)) + int64(len(p.f.Backup)) + int64(len(p.f.Log)) + int64(len(p.f.Log2))
}

// try computes the state from one snapshot, or from none. There is no Index where the
// snapshot cannot be used.
func (p *parser) try(name string, b []byte) (*Index, error) {
	s := newState(p.size())
	snap := s
	if b == nil {
		snap = nil
	} else if err := s.parseSnapshot(name, b); err != nil {
		p.damage = append(p.damage, err)
		return nil, err
	}
	x := &Index{}
	var first error
	note := func(e *CorruptError) {
		if first == nil {
			first = e
		}
		if len(x.Damage) < maxDamage {
			x.Damage = append(x.Damage, e)
		}
	}
	logs, stale := p.usable(snap, note)
	if stale {
		snap = nil
	}
	steps, reset, err := plan(snap, logs)
	if e, ok := err.(*CorruptError); ok {
		note(e)
	}
	if snap == nil && len(steps) == 0 {
		if err == nil {
			err = p.noState()
		}
		return nil, err
	}
	if reset {
		s = newState(p.size())
	}
	if err := s.replay(steps, note); err != nil {
		return nil, err
	}
	x.fill(s, steps)
	if err == nil {
		err = first
	}
	if err == nil {
		err = p.broken
	}
	if p.f.Log == nil {
		x.Damage = append(x.Damage, &CorruptError{fileLog, 0, "there is no log: changes since the index was written are not known"})
	}
	return x, err
}

// noState says why there is nothing to begin with.
func (p *parser) noState() error {
	if len(p.damage) > 0 {
		return p.damage[0]
	}
	return fmt.Errorf("dovecotindex: neither a snapshot nor a log: %w", fs.ErrNotExist)
}

// maxDamage bounds what is remembered of a hostile file.
const maxDamage = 100

// usable returns the logs that belong to a snapshot: those of its index id. Where the index
// was begun anew and the snapshot is stale, they are those of the newest log's id. A log that
// Dovecot has marked as damaged has lost its id; what it says is used, and noted.
func (p *parser) usable(snap *state, note func(*CorruptError)) (logs []*logFile, stale bool) {
	var id uint32
	if snap != nil {
		id = snap.hdr.get(hdrIndexID)
	}
	var newest *logFile
	for _, l := range p.logs {
		if l.indexID != 0 && (newest == nil || l.seq > newest.seq) {
			newest = l
		}
	}
	if newest != nil && (id == 0 || newest.indexID != id && newest.prevSeq == 0) {
		stale = id != 0
		id = newest.indexID
	}
	for _, l := range p.logs {
		switch l.indexID {
		case 0:
			note(&CorruptError{l.name, 0, "log that was marked as damaged"})
			fallthrough
		case id:
			logs = append(logs, l)
		default:
			note(&CorruptError{l.name, 4, "log of another index"})
		}
	}
	return logs, stale
}
