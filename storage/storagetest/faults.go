package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// An Op is a step of a Backend at which a Faulty one can fail.
type Op string

// The steps. Writing fails after half of the bytes have gone through, and OpExpunged after
// everything was done, as a sync can; all others fail before they do anything.
const (
	OpSync        Op = "sync"
	OpStat        Op = "stat"
	OpOpen        Op = "open"
	OpRead        Op = "read"
	OpCloseStored Op = "close stored"
	OpRecordSizes Op = "record sizes"
	OpCreate      Op = "create"
	OpWrite       Op = "write"
	OpFinish      Op = "finish"
	OpCommit      Op = "commit"
	OpAbort       Op = "abort"
	OpSetFlags    Op = "set flags"
	OpExpunge     Op = "expunge"
	OpExpunged    Op = "expunged"
)

// Faulty is a Backend that fails where Fail says so.
type Faulty struct {
	storage.Backend
	// Fail is asked at every step, concurrently if the Backend is used so; an error is
	// returned instead of taking the step. nil never fails.
	Fail func(Op) error
}

// FailOn returns a Fail that returns err at every step of the kinds named.
func FailOn(err error, ops ...Op) func(Op) error {
	return func(op Op) error {
		for _, o := range ops {
			if o == op {
				return err
			}
		}
		return nil
	}
}

// FailAt returns a Fail that returns err at the n-th step, counted from 1, and a
// function that tells how many steps there were. With n = 1, 2, 3 ... until fewer than
// n steps were taken, an operation fails at each place it can.
func FailAt(n int64, err error) (fail func(Op) error, steps func() int64) {
	var count atomic.Int64
	return func(Op) error {
		if count.Add(1) == n {
			return err
		}
		return nil
	}, count.Load
}

func (f *Faulty) fail(op Op) error {
	if f.Fail == nil {
		return nil
	}
	return f.Fail(op)
}

// Sync implements storage.Backend.
func (f *Faulty) Sync(ctx context.Context) (*mailbox.View, error) {
	if err := f.fail(OpSync); err != nil {
		return nil, err
	}
	return f.Backend.Sync(ctx)
}

// Stat implements storage.Backend.
func (f *Faulty) Stat(ctx context.Context, uid mailbox.UID) (mailbox.Message, error) {
	if err := f.fail(OpStat); err != nil {
		return mailbox.Message{}, err
	}
	return f.Backend.Stat(ctx, uid)
}

// Open implements storage.Backend.
func (f *Faulty) Open(ctx context.Context, uid mailbox.UID) (mailbox.Stored, error) {
	if err := f.fail(OpOpen); err != nil {
		return nil, err
	}
	s, err := f.Backend.Open(ctx, uid)
	if err != nil {
		return nil, err
	}
	return &faultyStored{s, f}, nil
}

// RecordSizes implements storage.Backend.
func (f *Faulty) RecordSizes(ctx context.Context, uid mailbox.UID, s mailbox.Sizes) error {
	if err := f.fail(OpRecordSizes); err != nil {
		return err
	}
	return f.Backend.RecordSizes(ctx, uid, s)
}

// Create implements storage.Backend.
func (f *Faulty) Create(ctx context.Context, info mailbox.SaveInfo) (mailbox.Pending, error) {
	if err := f.fail(OpCreate); err != nil {
		return nil, err
	}
	p, err := f.Backend.Create(ctx, info)
	if err != nil {
		return nil, err
	}
	return &faultyPending{p, f}, nil
}

// SetFlags implements storage.Backend.
func (f *Faulty) SetFlags(ctx context.Context, uids []mailbox.UID, c mailbox.FlagChange) ([]mailbox.UID, error) {
	if err := f.fail(OpSetFlags); err != nil {
		return nil, err
	}
	return f.Backend.SetFlags(ctx, uids, c)
}

// Expunge implements storage.Backend.
func (f *Faulty) Expunge(ctx context.Context, uids []mailbox.UID) error {
	if err := f.fail(OpExpunge); err != nil {
		return err
	}
	return errors.Join(f.Backend.Expunge(ctx, uids), f.fail(OpExpunged))
}

// CommitAll implements storage.GroupCommitter where the Backend below does.
func (f *Faulty) CommitAll(ctx context.Context, messages []mailbox.Pending, sizes []mailbox.Sizes) ([]mailbox.UID, error) {
	group, ok := f.Backend.(storage.GroupCommitter)
	if !ok {
		return nil, fmt.Errorf("storagetest: committing together: %w", errors.ErrUnsupported)
	}
	if err := f.fail(OpCommit); err != nil {
		return nil, err
	}
	below := make([]mailbox.Pending, len(messages))
	for i, p := range messages {
		below[i] = p.(*faultyPending).Pending
	}
	return group.CommitAll(ctx, below, sizes)
}

type faultyStored struct {
	mailbox.Stored
	f *Faulty
}

func (s *faultyStored) ReadAt(p []byte, off int64) (int, error) {
	if err := s.f.fail(OpRead); err != nil {
		return 0, err
	}
	return s.Stored.ReadAt(p, off)
}

// Close closes in any case: a fault must not leak files.
func (s *faultyStored) Close() error {
	err := s.f.fail(OpCloseStored)
	if closeErr := s.Stored.Close(); err == nil {
		err = closeErr
	}
	return err
}

type faultyPending struct {
	mailbox.Pending
	f *Faulty
}

func (p *faultyPending) Write(b []byte) (int, error) {
	if err := p.f.fail(OpWrite); err != nil {
		n, _ := p.Pending.Write(b[:len(b)/2])
		return n, err
	}
	return p.Pending.Write(b)
}

func (p *faultyPending) Commit(s mailbox.Sizes) (mailbox.UID, error) {
	if err := p.f.fail(OpCommit); err != nil {
		return 0, err
	}
	return p.Pending.Commit(s)
}

// Finish implements storage.Finisher.
func (p *faultyPending) Finish() error {
	if err := p.f.fail(OpFinish); err != nil {
		return err
	}
	if below, ok := p.Pending.(storage.Finisher); ok {
		return below.Finish()
	}
	return nil
}

// Abort aborts in any case.
func (p *faultyPending) Abort() error {
	err := p.f.fail(OpAbort)
	if abortErr := p.Pending.Abort(); err == nil {
		err = abortErr
	}
	return err
}
