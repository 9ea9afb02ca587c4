package admin

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage/handover"
	"mailcrypt/storage/mdbox"
)

// ImportStore implements Service.
func (l *Local) ImportStore(ctx context.Context, r ImportStoreRequest) (result HandoverResult, err error) {
	if r.Verify && !r.DryRun && len(r.Secrets) == 0 {
		return result, fmt.Errorf("%w: to open the messages afterwards", ErrNeedPassword)
	}
	for _, p := range r.Secrets {
		if p.Key == nil {
			continue
		}
		key, err := privateKey(p) // not only found wrong when all is done
		if err != nil {
			return result, err
		}
		key.Destroy()
	}
	err = l.closed(ctx, r.User, func(p account.MdboxPlace) error {
		src, err := handover.ParseSource(r.From, p.Home, p.Location)
		if err != nil {
			return err
		}
		if is := map[bool]string{false: "mdbox", true: "sdbox"}[src.Sdbox]; r.Format != "" && r.Format != is {
			return fmt.Errorf("%w: what is in %s is no %s store; it is %s", ErrUsage, src.Root, r.Format, is)
		}
		o := handoverOptions(ctx, p)
		o.DryRun, o.Force, o.Lossy, o.Link = r.DryRun, r.Force, r.Lossy, r.Link
		report, err := handover.Import(ctx, src, p.Location, o)
		result.fill(report)
		return err
	})
	if err != nil || r.DryRun {
		return result, err
	}
	return result, l.afterImport(ctx, r, &result)
}

// ExportStore implements Service.
func (l *Local) ExportStore(ctx context.Context, r ExportStoreRequest) (result HandoverResult, err error) {
	// Opening it brings everything else in line with the catalog.
	if err := l.ifStore(ctx, r.User, func(*mdbox.Hierarchy) error { return nil }); err != nil {
		return result, ofHandover(r.User, err)
	}
	err = l.closed(ctx, r.User, func(p account.MdboxPlace) error {
		o := handoverOptions(ctx, p)
		o.DryRun, o.Lossy = r.DryRun, r.Lossy
		report, err := handover.Export(ctx, p.Location, r.To, o)
		result.fill(report)
		return err
	})
	return result, err
}

// closed ends a user's sessions and calls fn while nobody has the store open.
func (l *Local) closed(ctx context.Context, user string, fn func(account.MdboxPlace) error) error {
	u, err := l.lookup(ctx, user)
	if err != nil {
		return err
	}
	done, err := l.turn(ctx, u.Name)
	if err != nil {
		return err
	}
	defer done()
	if l.Sessions != nil {
		l.Sessions.Kick(ctx, func(s Session) bool { return s.User == u.Name })
	}
	return ofHandover(user, l.Accounts.WithClosedMdbox(ctx, u, fn))
}

// ofHandover gives an error its kinds.
func ofHandover(user string, err error) error {
	is := func(targets ...error) bool { return isAny(err, targets) }
	switch {
	case is(handover.ErrInUse):
		return fmt.Errorf("%w: %w", ErrStoreInUse, err)
	case is(handover.ErrLost, handover.ErrAttachments):
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	case is(handover.ErrNotEmpty, handover.ErrOurs, handover.ErrBoth, handover.ErrNoStore, mdbox.ErrLocation, mdbox.ErrDovecot, mdbox.ErrNoCatalog):
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return ofStore(user, err)
}

func handoverOptions(ctx context.Context, p account.MdboxPlace) handover.Options {
	report := newReporter(ctx)
	return handover.Options{Mdbox: p.Options, Logger: p.Options.Logger, Check: checkStored,
		Progress: func(what string, done, total int) {
			report.report(Progress{What: what, Done: int64(done), Total: int64(total)})
		}}
}

// checkStored looks, without a key, whether stored bytes are a message as it should be.
func checkStored(s handover.Stored) error {
	head := make([]byte, min(s.Size(), 64))
	if n, err := s.ReadAt(head, 0); n < len(head) {
		return err
	}
	if !dcrypt.IsEncrypted(head) {
		return nil
	}
	_, err := dcrypt.ReadHeader(s, s.Size())
	return err
}

// afterImport opens what was taken over, as every session will, and, where asked for, every
// message.
func (l *Local) afterImport(ctx context.Context, r ImportStoreRequest, result *HandoverResult) error {
	return l.on(ctx, r.User, false, func(j *job) error {
		if !r.Verify {
			return nil
		}
		f := &fetcher{job: j, l: l, r: FetchRequest{User: r.User, Secrets: r.Secrets}}
		finder, done, err := f.keys(ctx, &dcrypt.Header{})
		if err != nil {
			return err
		}
		defer done()
		for _, folder := range j.folders {
			if f.box, err = j.Mailbox(ctx, folder.Name); err != nil {
				return err
			}
			if err := f.verifyAll(ctx, folder.Name, finder, result); err != nil {
				return errors.Join(err, f.box.Close())
			}
			if err := f.box.Close(); err != nil {
				return err
			}
		}
		if n := len(result.Unreadable); n > 0 {
			return fmt.Errorf("%w: %d of %d messages do not open; all were taken over as they are", ErrUnreadable, n, result.Verified+n)
		}
		return nil
	})
}

// verifyAll opens every message of a folder.
func (f *fetcher) verifyAll(ctx context.Context, folder string, finder dcrypt.KeyFinder, result *HandoverResult) error {
	view := f.box.View()
	for i, m := range view.All() {
		msg, err := f.box.Read(ctx, m.UID, finder)
		if err == nil {
			err = msg.Close()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, mailbox.ErrNotFound):
		case err != nil:
			result.Unreadable = append(result.Unreadable, HandoverMessage{Folder: folder, UID: uint32(m.UID), Reason: err.Error()})
		default:
			result.Verified++
		}
		f.report.report(Progress{What: "opening messages", Place: folder, Done: int64(i + 1), Total: int64(view.Len())})
	}
	return nil
}

// fill takes a report over; nil is none.
func (h *HandoverResult) fill(r *handover.Report) {
	if r == nil {
		return
	}
	*h = HandoverResult{DryRun: r.DryRun, From: r.From, To: r.To, InPlace: r.InPlace, Format: r.Format, Aside: r.Aside,
		Files: r.Files, Messages: r.Messages(), Stored: r.Stored, Expunged: r.Expunged, Bytes: r.Bytes, Notes: r.Notes,
		Damaged: handoverMessages(r.Damaged), Found: handoverMessages(r.Found), Lost: handoverMessages(r.Lost),
		Attachments: handoverMessages(r.Attachments)}
	for _, m := range r.Mailboxes {
		h.Folders = append(h.Folders, HandoverFolder{m.Name, m.GUID, m.UIDValidity, m.UIDNext, m.Messages})
	}
}

func handoverMessages(list []handover.MessageReport) (out []HandoverMessage) {
	for _, m := range list {
		out = append(out, HandoverMessage{m.Mailbox, m.UID, m.Place, m.Reason})
	}
	return out
}
