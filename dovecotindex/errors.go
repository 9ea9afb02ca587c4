package dovecotindex

import (
	"errors"
	"fmt"
)

// Conditions that callers branch on.
var (
	// ErrGap reports that the logs do not join the snapshot, or the beginning: changes in
	// between are lost. What was read is the state at the end of what joins.
	ErrGap = errors.New("dovecotindex: part of the transaction log is missing")
	// ErrTooLarge reports an index that asks for more memory than its files justify, or
	// files beyond what is read at all.
	ErrTooLarge = errors.New("dovecotindex: index too large")
	// ErrBusy reports files that another program kept replacing while they were read.
	ErrBusy = errors.New("dovecotindex: index changes while it is read")
	// ErrLocked reports a lock that another program holds.
	ErrLocked = errors.New("dovecotindex: locked by another program")
)

// Names of the files as a [CorruptError] gives them, relative to the path of the index.
const (
	fileIndex  = ""
	fileBackup = ".backup"
	fileLog    = ".log"
	fileLog2   = ".log.2"
)

// A CorruptError reports bytes that the format does not allow, and where they are.
type CorruptError struct {
	File   string // path of the file; of parsed bytes the suffix of its name alone, as ".log"
	Offset int64  // in the file, of the header or record that is wrong
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("dovecotindex: %s at %d: %s", e.File, e.Offset, e.Reason)
}

// errRecord is a reason why one record cannot be applied, or, if fatal, why nothing of the
// log behind it can be trusted. Dovecot makes the same difference: it goes on behind a
// record that does not fit the state, and gives up a log with a malformed one.
type errRecord struct {
	reason string
	fatal  bool
}

func (e *errRecord) Error() string { return e.reason }

// unfit is a record that is well formed and does not fit the state.
func unfit(format string, args ...any) error {
	return &errRecord{reason: fmt.Sprintf(format, args...)}
}

// malformed is a record that its own type does not allow.
func malformed(format string, args ...any) error {
	return &errRecord{reason: fmt.Sprintf(format, args...), fatal: true}
}
