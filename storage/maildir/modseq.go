package maildir

import (
	"context"
	"errors"
	"slices"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// Expunged returns what was expunged above a modseq, by us and by other programs, and also
// what was gone when the mailbox was opened first.
func (m *Mailbox) Expunged(ctx context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error) {
	b := m.b
	if err := ctx.Err(); err != nil {
		return nil, false, b.wrap("looking for expunges in", err)
	}
	m.View() // which may have to look first
	b.mu.RLock()
	idx, view := b.idx, b.view
	b.mu.RUnlock()
	if idx == nil || since > view.HighestModSeq {
		// Of a modseq that we never told nothing is known.
		return nil, false, nil
	}
	uids, complete = idx.Expunged(since)
	// A UID is not given twice: what is there was not expunged, whatever the log says.
	uids = slices.DeleteFunc(uids, func(uid mailbox.UID) bool { return view.Get(uid) != nil })
	return uids, complete, nil
}

// SyncModSeqs makes durable what the View at the call shows: first the names of our files,
// then the index. It holds nothing that others need meanwhile, and calls at the same time
// share the work. The error wraps mailbox.ErrNotFound where the mailbox is gone, also since the
// call began, and mailbox.ErrNoModSeqs where the index is not kept in a file, or another
// mailbox has taken the same GUID.
//
// The order is for those who were told that their change is done; modseqs would be right
// in either, for the index records flags with each modseq, and where a file has others when
// the mailbox is opened again, it gets a new modseq.
func (m *Mailbox) SyncModSeqs(ctx context.Context) error {
	b := m.b
	if err := ctx.Err(); err != nil {
		return b.wrap("syncing modseqs of", err)
	}
	b.mu.RLock()
	idx, gone := b.idx, b.gone
	b.mu.RUnlock()
	switch {
	case gone:
		return b.wrap("syncing modseqs of", mailbox.ErrNotFound)
	case idx == nil:
		// Nobody has looked at the mailbox, and so no modseq is known of it.
		if _, err := b.sync(ctx, false); err != nil {
			return err
		}
		b.mu.RLock()
		idx = b.idx
		b.mu.RUnlock()
		if idx == nil { // deleted since
			return b.wrap("syncing modseqs of", mailbox.ErrNotFound)
		}
	}
	if err := b.syncDirs(); err != nil {
		return b.wrap("syncing modseqs of", err)
	}
	err := idx.Sync()
	if errors.Is(err, index.ErrClosed) && !b.isClosed() {
		// The mailbox was deleted, or has become another one, and with it the View at the call.
		err = mailbox.ErrNotFound
	}
	return b.wrap("syncing modseqs of", err)
}

// isClosed reports whether nobody uses the box any more.
func (b *box) isClosed() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.closed
}

// syncDirs syncs the directories in which we have renamed or removed files: cur before new.
// Messages go from new to cur, and were new to lose the name first, a power cut in between
// would take the message on a file system that does not make a rename durable as one. The error
// wraps mailbox.ErrNotFound where the mailbox was deleted, and what was done in it with it.
func (b *box) syncDirs() error {
	b.syncing.Lock()
	defer b.syncing.Unlock()
	b.paths.RLock()
	defer b.paths.RUnlock()
	for i := len(b.renamed) - 1; i >= 0; i-- { // not by slices.Backward, which would copy the counters
		n := b.renamed[i].Load()
		if n == b.synced[i] {
			continue
		}
		if err := b.h.faults.SyncDir(b.dirPath(i)); err != nil {
			return b.orNotFound(err)
		}
		b.synced[i] = n
	}
	return nil
}
