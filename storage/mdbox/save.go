package mdbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// Create begins a message.
func (m *Mailbox) Create(ctx context.Context, info mailbox.SaveInfo) (mailbox.Pending, error) {
	b := m.b
	if err := ctx.Err(); err != nil {
		return nil, b.wrap("saving to", err)
	}
	if err := b.usable(); err != nil {
		return nil, err
	}
	if err := checkInfo(info); err != nil {
		return nil, b.wrap("saving to", err)
	}
	return &pending{ctx: ctx, b: b, spool: b.h.files.Create(), info: info}, nil
}

// checkInfo refuses what metadata and the catalog cannot hold.
func checkInfo(info mailbox.SaveInfo) error {
	if len(info.GUID) > 1024 || strings.ContainsFunc(info.GUID, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: message GUID that metadata cannot hold", mailbox.ErrName)
	}
	return checkKeywords(info.Flags.Keywords)
}

// pending is a message being saved. It keeps the context of Create, for it is one operation
// that Commit completes.
type pending struct {
	ctx   context.Context
	b     *box
	spool *mfile.Spool
	info  mailbox.SaveInfo
	done  bool
}

func (p *pending) Write(data []byte) (int, error) {
	n, err := p.spool.Write(data)
	return n, p.b.wrap("saving to", tooLarge(err))
}

// tooLarge gives an error of the files its meaning for mailboxes.
func tooLarge(err error) error {
	if errors.Is(err, mfile.ErrTooLarge) {
		return fmt.Errorf("%w: %w", mailbox.ErrTooLarge, err)
	}
	return err
}

// Finish implements storage.Finisher: a large message is on the disk then.
func (p *pending) Finish() error {
	if p.done {
		return p.b.wrap("saving to", os.ErrClosed)
	}
	return p.b.wrap("saving to", tooLarge(p.spool.Finish()))
}

// Abort removes what was written.
func (p *pending) Abort() error {
	if p.done {
		return nil
	}
	p.done = true
	return p.b.wrap("aborting in", p.spool.Abort())
}

// Commit makes the message durable and visible. After an error it is aborted.
func (p *pending) Commit(s mailbox.Sizes) (mailbox.UID, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, errors.Join(p.b.wrap("saving to", err), p.Abort())
	}
	uids, err := p.b.commitAll([]mailbox.Pending{p}, []mailbox.Sizes{s})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

// CommitAll implements storage.GroupCommitter.
func (m *Mailbox) CommitAll(ctx context.Context, messages []mailbox.Pending, sizes []mailbox.Sizes) ([]mailbox.UID, error) {
	if err := ctx.Err(); err != nil {
		for _, p := range messages {
			err = errors.Join(err, p.Abort())
		}
		return nil, m.b.wrap("saving to", err)
	}
	return m.b.commitAll(messages, sizes)
}

// commitAll saves messages, all or none.
func (b *box) commitAll(messages []mailbox.Pending, sizes []mailbox.Sizes) (uids []mailbox.UID, err error) {
	defer func() {
		for _, p := range messages {
			if err != nil {
				err = errors.Join(err, p.Abort())
			} else {
				p.(*pending).done = true
			}
		}
	}()
	c := &commit{box: b}
	for i, p := range messages {
		own, ok := p.(*pending)
		if !ok || own.b != b {
			return nil, b.wrap("saving to", fmt.Errorf("not a message of this mailbox: %w", errors.ErrUnsupported))
		}
		// Outside of all locks, for large ones are synced here.
		if err := own.Finish(); err != nil {
			return nil, err
		}
		c.saves = append(c.saves, own.save(sizes[i]))
	}
	if len(c.saves) == 0 {
		return nil, nil
	}
	if err := b.h.commit(c); err != nil {
		return nil, b.wrap("saving to", tooLarge(err))
	}
	return c.uids, nil
}

// save is the message as it is to be saved.
func (p *pending) save(s mailbox.Sizes) save {
	received, guid := p.info.Received, p.info.GUID
	if received.IsZero() {
		received = time.Now()
	}
	if guid == "" {
		guid = mailbox.NewGUID().String()
	}
	s.Stored = p.spool.Size()
	return save{
		file: mfile.Message{Spool: p.spool, Metadata: mfile.Metadata{Physical: s.Physical, Virtual: s.Virtual,
			Received: received, GUID: guid, Folder: p.b.f().key}},
		record: newRecord(p.info.Flags, s),
		sizes:  s,
	}
}
