package account

import (
	"context"
	"errors"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// maxLinks is how many messages are linked together at most.
const maxLinks = 1000

// A copying is one COPY under way. Messages that can be linked wait, so that a store that can
// link many at once does; the UIDs of the copies are in the order of the originals all the same.
type copying struct {
	m, target *Mailbox
	room      *reservation
	all       bool // a message that is gone is an error
	result    *CopyResult
	carried   map[dcrypt.KeyID]bool // keys that the target has already got
	waiting   []mailbox.Message
}

// add copies a message, or has it wait.
func (c *copying) add(ctx context.Context, uid mailbox.UID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	msg, err := c.m.backend.Stat(ctx, uid)
	link := false
	if err == nil {
		link, err = c.prepare(ctx, msg)
	}
	if err != nil {
		return c.gone(ctx, uid, err)
	}
	if link {
		if c.waiting = append(c.waiting, msg); len(c.waiting) < maxLinks {
			return nil
		}
		return c.flush(ctx)
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	made, err := c.m.resave(ctx, uid, c.target, infoOf(msg))
	return c.made(ctx, msg, made, err)
}

// prepare decides whether a message is linked, and carries its keys to the target then.
func (c *copying) prepare(ctx context.Context, msg mailbox.Message) (link bool, err error) {
	header, err := c.m.header(ctx, msg)
	if err != nil {
		return false, err
	}
	// As it is stored: what is wanted encrypted and is; what is wanted in clear and is, or
	// cannot be read.
	link = header.encrypted
	if c.m.login.set.Store.Version == 0 {
		link = !header.encrypted || !c.m.readable(ctx, msg.UID)
	}
	if !link {
		return false, nil
	}
	for _, to := range header.recipients {
		if c.carried[to.ID] {
			continue
		}
		// The record comes before the message that needs it.
		if err := c.m.login.keys.CarryKey(ctx, to.ID, c.target.backend.GUID()); err != nil {
			return false, err
		}
		c.carried[to.ID] = true
	}
	return true, nil
}

func infoOf(msg mailbox.Message) mailbox.SaveInfo {
	return mailbox.SaveInfo{Received: msg.Received, Flags: msg.Flags, GUID: msg.GUID, NeedUID: true}
}

// flush links what is waiting.
func (c *copying) flush(ctx context.Context) error {
	waiting := c.waiting
	c.waiting = nil
	if group, ok := c.target.backend.(storage.GroupLinker); ok && len(waiting) > 1 {
		uids, infos := make([]mailbox.UID, len(waiting)), make([]mailbox.SaveInfo, len(waiting))
		for i, msg := range waiting {
			uids[i], infos[i] = msg.UID, infoOf(msg)
		}
		made, err := group.LinkAll(ctx, c.m.backend, uids, infos)
		if err == nil {
			for i, msg := range waiting {
				if err := c.made(ctx, msg, made[i], nil); err != nil {
					return err
				}
			}
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, mailbox.ErrNotFound) {
			return err
		}
		// One of them cannot be linked, or is gone: each by itself tells which.
	}
	for _, msg := range waiting {
		made, err := c.target.store.Link(ctx, c.m.store, msg.UID, infoOf(msg))
		if errors.Is(err, errors.ErrUnsupported) {
			made, err = c.m.resave(ctx, msg.UID, c.target, infoOf(msg))
		}
		if err := c.made(ctx, msg, made, err); err != nil {
			return err
		}
	}
	return nil
}

// made notes a copy.
func (c *copying) made(ctx context.Context, msg mailbox.Message, made mailbox.UID, err error) error {
	if err != nil {
		return c.gone(ctx, msg.UID, err)
	}
	c.result.From = append(c.result.From, msg.UID)
	c.result.To = append(c.result.To, made)
	c.room.landed(copyUsage(msg))
	return nil
}

// gone passes over a message that does not exist any more, where that is allowed.
func (c *copying) gone(ctx context.Context, uid mailbox.UID, err error) error {
	if errors.Is(err, mailbox.ErrNotFound) && c.m.expunged(ctx, uid) {
		if !c.all {
			return nil
		}
		err = errExpunged(uid)
	}
	return err
}
