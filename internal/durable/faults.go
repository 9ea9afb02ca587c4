package durable

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// An Op names a kind of step.
type Op string

// The steps that a Faults counts.
const (
	OpCreate   Op = "create"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpRename   Op = "rename"
	OpLink     Op = "link"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
	OpTruncate Op = "truncate"
	OpChmod    Op = "chmod"
	OpMkdir    Op = "mkdir"
)

// A Kind says what happens at the step that a Faults is set to.
type Kind int

const (
	// Fail lets that one step fail without effect. Later steps work.
	Fail Kind = iota + 1
	// Short is Fail, but a write leaves half of its bytes.
	Short
	// Crash stops the world: that step and all later ones have no effect.
	Crash
	// PowerCut is Crash, after which every file that was written to and not synced since
	// has lost what was appended, as after a power cut on a file system that delays its
	// allocations: a new one is empty.
	PowerCut
)

var (
	// ErrFault is the error of a step that was made to fail, where no other was given.
	ErrFault = errors.New("durable: injected fault")
	// ErrCrashed is the error of every step from an injected crash on.
	ErrCrashed = errors.New("durable: injected crash")
)

// A Step is one effect that was asked for.
type Step struct {
	Op   Op
	Path string
}

// Faults counts the effects on the file system that go through it and can spoil one of
// them. It is for tests, which run an operation once to count its steps and then once for
// each of them. A nil *Faults spoils nothing; the zero value only counts. It may be used
// concurrently.
type Faults struct {
	mu    sync.Mutex
	at    int
	kind  Kind
	err   error
	dead  bool
	steps []Step
	dirty map[*File]struct{}
}

// FaultAt spoils step n, counted from 1. err is what Fail and Short return; nil means
// ErrFault.
func FaultAt(n int, kind Kind, err error) *Faults {
	if err == nil {
		err = ErrFault
	}
	return &Faults{at: n, kind: kind, err: err}
}

// Steps returns what was asked for so far, in order.
func (f *Faults) Steps() []Step {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Step(nil), f.steps...)
}

// Hit reports whether the step that was to be spoilt has been reached.
func (f *Faults) Hit() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at > 0 && len(f.steps) >= f.at
}

// Do runs fn as one step. Packages whose effects are not among the methods here use it to
// let them take part.
func (f *Faults) Do(op Op, path string, fn func() error) error {
	if _, err := f.step(op, path); err != nil {
		return err
	}
	return fn()
}

// step counts; an error means that the step must have no effect, except that of a short
// write half must be written.
func (f *Faults) step(op Op, path string) (short bool, err error) {
	if f == nil {
		return false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, Step{op, path})
	switch {
	case f.dead:
		return false, ErrCrashed
	case f.at != len(f.steps):
		return false, nil
	}
	switch f.kind {
	case Crash, PowerCut:
		f.dead = true
		if f.kind == PowerCut {
			for file := range f.dirty {
				file.cut()
			}
		}
		return op == OpWrite && f.kind == Crash, ErrCrashed
	case Short:
		return op == OpWrite, fmt.Errorf("durable: %s %s: %w", op, path, f.err)
	default:
		return false, fmt.Errorf("durable: %s %s: %w", op, path, f.err)
	}
}

// Rename is os.Rename as a step.
func (f *Faults) Rename(from, to string) error {
	return f.Do(OpRename, to, func() error { return os.Rename(from, to) })
}

// Link is os.Link as a step.
func (f *Faults) Link(from, to string) error {
	return f.Do(OpLink, to, func() error { return os.Link(from, to) })
}

// Remove is os.Remove as a step.
func (f *Faults) Remove(path string) error {
	return f.Do(OpRemove, path, func() error { return os.Remove(path) })
}

// Mkdir is os.Mkdir as a step.
func (f *Faults) Mkdir(path string, perm os.FileMode) error {
	return f.Do(OpMkdir, path, func() error {
		if err := os.Mkdir(path, perm); err != nil {
			return err
		}
		return Inherit(path)
	})
}

// OpenFile is os.OpenFile as a step, if it may create or truncate. It does not follow a
// symbolic link at path.
func (f *Faults) OpenFile(path string, flag int, perm os.FileMode) (*File, error) {
	var file *os.File
	open := func() (err error) {
		fd, err := openFD(path, flag|noFollow, perm)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), path)
		if flag&os.O_CREATE != 0 {
			if err = InheritFile(file); err != nil {
				file.Close()
			}
		}
		return err
	}
	var err error
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		err = f.Do(OpCreate, path, open)
	} else {
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return f.track(file), nil
}

func (f *Faults) track(file *os.File) *File {
	t := &File{f: file, faults: f}
	if f != nil {
		t.settled()
	}
	return t
}

func (f *Faults) mark(file *File, dirty bool) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !dirty {
		delete(f.dirty, file)
		return
	}
	if f.dirty == nil {
		f.dirty = map[*File]struct{}{}
	}
	f.dirty[file] = struct{}{}
}
