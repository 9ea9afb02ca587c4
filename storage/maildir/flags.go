package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"mailcrypt/mailbox"
)

// batch is how many files are changed under one holding of the lock: well below the two
// seconds after which others look at who holds it.
const batch = 2000

// SetFlags changes flags by renaming files. Keywords beyond the 26th of the mailbox are
// refused with an error that wraps mailbox.ErrLimit, before anything is changed.
func (m *Mailbox) SetFlags(ctx context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error) {
	b := m.b
	err = b.eachBatch(ctx, uids, func(batch func() []*entry) (func(*entry) error, func(), error) {
		letters, err := b.changeLetters(ctx, change)
		if err != nil {
			return nil, nil, err
		}
		if change.UnchangedSince != nil {
			// What other programs changed counts too.
			if err := b.lookAgain(); err != nil {
				return nil, nil, err
			}
		}
		suffixes := suffixChange{op: change.Op, letters: letters, known: map[string]string{}}
		files := batch()
		mover := b.newMover(len(files))
		mover.keepSaved(slices.DeleteFunc(files, func(e *entry) bool {
			return change.Refused(e.msg) || suffixes.of(e) == e.suffix
		}))
		return func(e *entry) error {
			if change.Refused(e.msg) {
				modified = append(modified, e.uid)
				return nil
			}
			if suffix := suffixes.of(e); suffix != e.suffix {
				return mover.toCur(e, suffix)
			}
			return nil // a file in new stays there if its letters do
		}, mover.close, nil
	})
	slices.Sort(modified)
	return modified, err
}

// A suffixChange is what a change of flags makes of the suffixes of names, of which there are few.
type suffixChange struct {
	op      mailbox.FlagOp
	letters string
	known   map[string]string
}

// of returns the new suffix of a file's name; the old one where its letters stay.
func (c *suffixChange) of(e *entry) string {
	suffix, ok := c.known[e.suffix]
	if !ok {
		suffix = changeSuffix(e.suffix, c.op, c.letters)
		_, was, _ := splitFlags(e.suffix)
		if _, now, _ := splitFlags(suffix); now == was {
			suffix = e.suffix
		}
		c.known[e.suffix] = suffix
	}
	return suffix
}

// changeLetters returns the letters of a change, giving new ones to new keywords. The lock
// of the uidlist is held.
func (b *box) changeLetters(ctx context.Context, change mailbox.FlagChange) (string, error) {
	letters := lettersOf(change.Flags.System)
	if change.Op != mailbox.RemoveFlags {
		more := ""
		if len(change.Flags.Keywords) > 0 {
			var err error
			if more, err = b.writeKeywords(ctx, change.Flags.Keywords); err != nil {
				return "", err
			}
		}
		return letters + more, nil
	}
	for _, k := range change.Flags.Keywords {
		if l, ok := b.keys.find(k); ok {
			letters += string(rune(l))
		}
	}
	return letters, nil
}

// A beginBatch is called when the lock has been taken, with a function that tells whose turn it
// is, and returns what is to be done to each of them and at the end of the batch.
type beginBatch func(batch func() []*entry) (change func(*entry) error, end func(), err error)

// eachBatch calls a function for every message of uids that exists, in batches under the
// uidlist's lock. Messages whose file was not where it should be are looked for and tried again.
func (b *box) eachBatch(ctx context.Context, uids []mailbox.UID, begin beginBatch) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	if !b.loaded || b.fresh {
		if err := b.syncLocked(ctx, false); err != nil {
			return err
		}
	}
	for round := range maxRounds {
		var retry []mailbox.UID
		for part := range slices.Chunk(uids, batch) {
			if err := ctx.Err(); err != nil {
				return b.wrap("changing", err)
			}
			again, err := b.oneBatch(ctx, part, begin)
			if err != nil {
				return err
			}
			retry = append(retry, again...)
		}
		if len(retry) == 0 {
			return nil
		}
		if round == maxRounds-1 {
			return b.wrap("changing", fmt.Errorf("%d messages are being renamed all the time", len(retry)))
		}
		if err := b.syncLocked(ctx, true); err != nil {
			return err
		}
		uids = retry
	}
	return nil
}

func (b *box) oneBatch(ctx context.Context, uids []mailbox.UID, begin beginBatch) (again []mailbox.UID, err error) {
	unlock := b.tryLockList(ctx)
	defer unlock()
	there := func() []*entry {
		list := make([]*entry, 0, len(uids))
		for _, uid := range uids {
			if e := b.find(uid); e != nil && e.present && e.msg != nil {
				list = append(list, e)
			}
		}
		return list
	}
	change, end, err := begin(there)
	if err != nil {
		return nil, err
	}
	defer end()
	own := b.beginOwn()
	defer func() {
		own.end()
		b.publish()
	}()
	for _, e := range there() {
		switch err := change(e); {
		case err == nil:
		case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrExist):
			again = append(again, e.uid)
		default:
			return again, b.wrap(fmt.Sprintf("changing UID %d of", e.uid), err)
		}
	}
	return again, nil
}

// Expunge removes messages. A lock that cannot be had, as on a full disk, does not keep it
// from that. When it returns the messages are durably gone.
func (m *Mailbox) Expunge(ctx context.Context, uids []mailbox.UID) error {
	b := m.b
	err := b.eachBatch(ctx, uids, func(func() []*entry) (func(*entry) error, func(), error) {
		return func(e *entry) error {
			dir := dirOf(e)
			if err := b.h.faults.Remove(b.path(e)); err != nil {
				return err
			}
			b.renamed[dir].Add(1)
			b.mu.Lock()
			b.lose(e)
			b.mu.Unlock()
			return nil
		}, func() {}, nil
	})
	return errors.Join(err, b.wrap("expunging from", b.syncDirs()))
}

// ClaimRecent moves messages from new to cur and returns those that no session was told of.
func (m *Mailbox) ClaimRecent(ctx context.Context) ([]mailbox.UID, error) {
	b := m.b
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	if b.loaded && len(b.recents) == 0 {
		return nil, nil // what comes from now on is for the next time
	}
	var claimed []mailbox.UID
	for range maxRounds {
		if err := b.syncLocked(ctx, false); err != nil {
			return claimed, err
		}
		again, err := b.claim(ctx, &claimed)
		if err != nil {
			return claimed, err
		}
		if !again {
			break
		}
		b.dirs = [2]dirState{}
	}
	slices.Sort(claimed)
	return claimed, nil
}

func (b *box) claim(ctx context.Context, claimed *[]mailbox.UID) (again bool, err error) {
	if len(b.recents) == 0 {
		return false, nil
	}
	unlock := b.tryLockList(ctx)
	defer unlock()
	own := b.beginOwn()
	mover := b.newMover(len(b.inNew))
	defer mover.close()
	defer func() {
		own.end()
		b.publish()
	}()
	start := time.Now()
	for e := range b.recents {
		if e.msg == nil {
			continue
		}
		if e.inNew {
			switch err := mover.toCur(e, changeSuffix(e.suffix, mailbox.AddFlags, "")); {
			case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrExist):
				again = true
				continue
			case readOnly(err):
				// Told once in this process all the same.
			case err != nil:
				return false, b.wrap("moving new messages of", err)
			}
		}
		b.mu.Lock()
		e.recent = false
		delete(b.recents, e)
		b.touch(e)
		b.mu.Unlock()
		*claimed = append(*claimed, e.uid)
		if time.Since(start) > time.Second {
			return true, nil // let others have the lock
		}
	}
	return again, nil
}
