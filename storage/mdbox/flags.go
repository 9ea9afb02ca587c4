package mdbox

import (
	"context"
	"fmt"
	"slices"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// maxKeywords is how many keywords one message may have.
const maxKeywords = 1000

// checkKeywords refuses what no message may have.
func checkKeywords(keywords []string) error {
	if len(keywords) > maxKeywords {
		return fmt.Errorf("%w: a message has %d keywords at most", mailbox.ErrLimit, maxKeywords)
	}
	for _, k := range keywords {
		if err := mailbox.CheckKeyword(k); err != nil {
			return err
		}
	}
	return nil
}

// SetFlags changes flags. The catalog has the change durably a little later; SyncModSeqs
// waits for that.
func (m *Mailbox) SetFlags(ctx context.Context, uids []mailbox.UID, change mailbox.FlagChange) (modified []mailbox.UID, err error) {
	b := m.b
	if change.Op != mailbox.RemoveFlags {
		if err := checkKeywords(change.Flags.Keywords); err != nil {
			return nil, b.wrap("changing flags in", err)
		}
	}
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	v, err := b.load()
	if err != nil {
		return nil, err
	}
	modseq := b.h.catalog.NextModSeq(v.HighestModSeq)
	var msgs []*mailbox.Message
	if !slices.IsSorted(uids) {
		uids = slices.Sorted(slices.Values(uids))
	}
	find := v.Finder()
	for i, uid := range uids {
		if i > 0 && uid == uids[i-1] {
			continue
		}
		old := find.Get(uid)
		if old == nil {
			continue
		}
		if change.Refused(old) {
			modified = append(modified, uid)
			continue
		}
		flags := change.Apply(old.Flags)
		if flags.Equal(old.Flags) {
			continue
		}
		if len(flags.Keywords) > maxKeywords {
			return nil, b.wrap("changing flags in", checkKeywords(flags.Keywords))
		}
		msg := *old
		msg.Flags, msg.ModSeq = flags, modseq
		if msgs == nil {
			msgs = make([]*mailbox.Message, 0, len(uids)-i)
		}
		msgs = append(msgs, &msg)
	}
	if len(msgs) == 0 {
		return modified, nil
	}
	// First the catalog: what a view shows is known to who asks the catalog to sync.
	if err := b.h.catalog.Later(b.guid, index.LateChange{HighestModSeq: modseq, Messages: msgs}); err != nil {
		return nil, b.wrap("changing flags in", err)
	}
	b.show(v.Replace(msgs...))
	b.watching.wake()
	return modified, nil
}

// Expunge removes messages. When it returns they are durably gone. Their bytes stay in their
// files until these are purged.
func (m *Mailbox) Expunge(ctx context.Context, uids []mailbox.UID) error {
	b := m.b
	if len(uids) == 0 {
		return ctx.Err()
	}
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	var gone []mailbox.UID
	var modseq mailbox.ModSeq
	err := b.h.catalog.Update(ctx, func(tx *index.CatalogTx) (err error) {
		gone, modseq, err = tx.Expunge(b.guid, uids)
		return err
	})
	if err != nil {
		return b.wrap("expunging from", err)
	}
	if len(gone) == 0 {
		return nil
	}
	if v := b.loaded(); v != nil {
		b.show(v.Remove(modseq, gone...))
	}
	b.watching.wake()
	return nil
}

// ClaimRecent takes \Recent away from all messages and returns their UIDs.
func (m *Mailbox) ClaimRecent(ctx context.Context) ([]mailbox.UID, error) {
	b := m.b
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.unlock()
	v, err := b.load()
	if err != nil {
		return nil, err
	}
	var claimed []mailbox.UID
	var msgs []*mailbox.Message
	first, _ := v.Find(b.recent)
	for i := first; i < v.Len(); i++ {
		msg := *v.At(i)
		msg.Flags.System &^= mailbox.Recent
		msgs = append(msgs, &msg)
		claimed = append(claimed, msg.UID)
	}
	if len(claimed) == 0 {
		return nil, nil
	}
	if err := b.h.catalog.Later(b.guid, index.LateChange{FirstRecent: v.UIDNext}); err != nil {
		return nil, b.wrap("claiming new messages of", err)
	}
	b.recent = v.UIDNext
	b.show(v.Replace(msgs...))
	b.watching.wake()
	return claimed, nil
}

// Expunged returns what was expunged above a modseq.
func (m *Mailbox) Expunged(ctx context.Context, since mailbox.ModSeq) (uids []mailbox.UID, complete bool, err error) {
	b := m.b
	v, err := b.look(ctx)
	if err != nil {
		return nil, false, err
	}
	if since > v.HighestModSeq {
		return nil, false, nil // of a modseq that we never told nothing is known
	}
	uids, complete, err = b.h.catalog.Expunged(b.guid, since)
	if err != nil {
		return nil, false, b.wrap("looking for expunges in", err)
	}
	// What is under way is not in the view yet.
	uids = slices.DeleteFunc(uids, func(uid mailbox.UID) bool { return v.Get(uid) != nil })
	return uids, complete, nil
}

// SyncModSeqs makes durable what the View at the call shows. Calls at the same time share the
// work, with all mailboxes of the store.
func (m *Mailbox) SyncModSeqs(ctx context.Context) error {
	b := m.b
	if err := b.usable(); err != nil {
		return err
	}
	return b.wrap("syncing modseqs of", b.h.catalog.Sync(ctx))
}
