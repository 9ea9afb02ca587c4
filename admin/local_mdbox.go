package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mailcrypt/account"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// onStore gives fn a user's mdbox store.
func (l *Local) onStore(ctx context.Context, user string, fn func(*mdbox.Hierarchy) error) error {
	return ofStore(user, l.ifStore(ctx, user, fn))
}

// ifStore is onStore, with account.ErrNotMdbox as it is.
func (l *Local) ifStore(ctx context.Context, user string, fn func(*mdbox.Hierarchy) error) error {
	u, err := l.lookup(ctx, user)
	if err != nil {
		return err
	}
	return l.Accounts.Admin(ctx, u, func(a *account.Admin) error {
		h, err := a.Mdbox()
		if err != nil {
			return err
		}
		return fn(h)
	})
}

// ofStore gives an error its kinds.
func ofStore(user string, err error) error {
	switch {
	case errors.Is(err, account.ErrNotMdbox):
		return fmt.Errorf("%w: the mail of user %s is not in an mdbox store", ErrUsage, user)
	case errors.Is(err, account.ErrStoreOpen):
		return fmt.Errorf("%w: the mail of user %s is in use: end the sessions (doveadm-crypt kick %s) and try again", ErrTemporary, user, user)
	}
	return classify(err)
}

// Purge implements Service. A Maildir has nothing to purge, so that all users can be named.
func (l *Local) Purge(ctx context.Context, r PurgeRequest) (result MoveResult, err error) {
	err = l.ifStore(ctx, r.User, func(h *mdbox.Hierarchy) error {
		done, err := h.Purge(ctx)
		result = moveResult(done)
		return err
	})
	if errors.Is(err, account.ErrNotMdbox) {
		return result, nil
	}
	return result, ofStore(r.User, err)
}

func moveResult(m mdbox.Moved) MoveResult {
	r := MoveResult{Files: m.Files, Expunged: m.Expunged, Freed: m.Freed, Messages: m.Messages, Bytes: m.Bytes}
	for _, f := range m.Left {
		r.Left = append(r.Left, LeftFile{messageFile(f.File, f.Alt), f.Reason})
	}
	return r
}

func messageFile(id uint32, alt bool) string {
	if alt {
		return fmt.Sprintf("alt/m.%d", id)
	}
	return fmt.Sprintf("m.%d", id)
}

// AltMove implements Service.
func (l *Local) AltMove(ctx context.Context, r AltMoveRequest) (result MoveResult, err error) {
	if len(r.Folders) == 0 && r.SavedBefore.IsZero() && r.ReceivedBefore.IsZero() && !r.Seen && !r.Unflagged {
		return result, fmt.Errorf("%w: say which messages", ErrUsage)
	}
	err = l.onStore(ctx, r.User, func(h *mdbox.Hierarchy) error {
		done, err := h.AltMove(ctx, !r.Back, func(name string, m mailbox.Message) bool { return r.matches(name, m, h.Separator()) })
		result = moveResult(done)
		return err
	})
	return result, err
}

func (r *AltMoveRequest) matches(name string, m mailbox.Message, separator byte) bool {
	return (len(r.Folders) == 0 || matchAny(r.Folders, name, separator)) &&
		(r.SavedBefore.IsZero() || m.Saved.Before(r.SavedBefore)) &&
		(r.ReceivedBefore.IsZero() || m.Received.Before(r.ReceivedBefore)) &&
		(!r.Seen || m.Flags.System&mailbox.Seen != 0) &&
		(!r.Unflagged || m.Flags.System&mailbox.Flagged == 0)
}

// StoreStat implements Service.
func (l *Local) StoreStat(ctx context.Context, r StoreStatRequest) (result StoreStatResult, err error) {
	err = l.onStore(ctx, r.User, func(h *mdbox.Hierarchy) error {
		st, err := h.Stat(ctx)
		if err != nil {
			return err
		}
		result = StoreStatResult{Folders: st.Mailboxes, Messages: st.Messages, Stored: st.Stored, Expunged: st.Expunged,
			LiveBytes: st.LiveBytes, DeadBytes: st.DeadBytes, Rebuilds: st.Rebuilds}
		for _, f := range st.Files {
			result.Files = append(result.Files, FileStat{File: messageFile(f.ID, f.Alt), Alt: f.Alt, Size: f.Size, Known: f.Known,
				Messages: f.Messages, Dead: f.Dead, DeadBytes: f.DeadBytes, State: f.State})
		}
		return nil
	})
	return result, err
}

// Resync implements Service.
func (l *Local) Resync(ctx context.Context, r ResyncRequest) (result ResyncResult, err error) {
	u, err := l.lookup(ctx, r.User)
	if err != nil {
		return result, err
	}
	done, err := l.turn(ctx, u.Name)
	if err != nil {
		return result, err
	}
	defer done()
	p, err := l.Accounts.ResyncMdbox(ctx, u, mdbox.ResyncOptions{DryRun: r.DryRun, Restored: r.Restored, FilesOnly: r.FilesOnly})
	if err != nil {
		return result, ofStore(r.User, err)
	}
	result = ResyncResult{Whole: p.Whole(), Files: p.Files, Found: p.Found, Bytes: p.Bytes, Folders: p.Mailboxes, Kept: p.Kept,
		Expunged: p.Expunged, Duplicates: p.Duplicates, Placed: folderCounts(p.Placed), Missing: folderCounts(p.Missing), LostCopies: p.LostCopies,
		Created: p.Created, NewUIDValidity: p.NewUIDValidity, Nameless: p.Nameless, Renumbered: p.Renumbered, NoGUID: p.NoGUID,
		Attachments: p.Attachments, NoCatalog: p.NoCatalog, Unreadable: p.Unreadable, OldCatalog: p.OldCatalog}
	for _, d := range p.Damaged {
		result.Damaged = append(result.Damaged, DamagedPart{messageFile(d.File, d.Alt), d.Offset, d.Bytes, d.Reason})
	}
	return result, nil
}

func folderCounts(counts map[string]int) (list []FolderCount) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, FolderCount{name, counts[name]})
	}
	return list
}
