package account

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A CopyResult tells which UIDs the copies got, in the order of the originals (RFC 4315).
type CopyResult struct {
	UIDValidity uint32 // of the target
	From, To    []mailbox.UID
}

// Copy copies messages into another mailbox of the user, all or none: the error wraps
// mailbox.ErrExpunged where one does not exist any more. An
// encrypted message is linked, not read: its bytes are shared, and the sealed record of
// its key is stored for the target as well, so that it stays readable there, in Dovecot
// too. That costs no cryptography and works for messages that this login cannot read.
// What is not stored as the settings ask (in clear where mail is encrypted, or the other
// way round) is read and saved anew. Where one copy fails, those already made are removed.
// The error is a *quota.Error where there is not room for all.
func (m *Mailbox) Copy(ctx context.Context, uids []mailbox.UID, to string) (CopyResult, error) {
	return m.copy(ctx, uids, to, false)
}

// copy copies; moving passes over messages that do not exist.
func (m *Mailbox) copy(ctx context.Context, uids []mailbox.UID, to string, moving bool) (CopyResult, error) {
	target, err := m.login.Open(ctx, to, false)
	if err != nil {
		return CopyResult{}, err
	}
	defer target.Close()
	room, err := m.admitCopy(ctx, uids, to, moving)
	if err != nil {
		return CopyResult{}, err
	}
	defer room.done()
	return m.copyTo(ctx, uids, target, room, !moving)
}

// Move is Copy of those messages that exist, and then removes the originals; the result
// tells which they were. A crash in between leaves both. It takes
// no more room than there was taken, so that a full mailbox can be tidied up.
func (m *Mailbox) Move(ctx context.Context, uids []mailbox.UID, to string) (CopyResult, error) {
	if m.readOnly {
		return CopyResult{}, mailbox.ErrReadOnly
	}
	result, err := m.copy(ctx, uids, to, true)
	if err != nil {
		return result, err
	}
	return result, m.backend.Expunge(ctx, result.From)
}

func (m *Mailbox) copyTo(ctx context.Context, uids []mailbox.UID, target *Mailbox, room *reservation, all bool) (result CopyResult, err error) {
	defer func() {
		if err != nil && len(result.To) > 0 {
			err = errors.Join(err, target.backend.Expunge(context.WithoutCancel(ctx), result.To))
			result = CopyResult{}
		}
	}()
	view := m.backend.View()
	for _, uid := range uids {
		if all && view.Get(uid) == nil {
			return result, errExpunged(uid)
		}
	}
	c := &copying{m: m, target: target, room: room, all: all, result: &result, carried: map[dcrypt.KeyID]bool{}}
	for _, uid := range uids {
		if err := c.add(ctx, uid); err != nil {
			return result, err
		}
	}
	if err := c.flush(ctx); err != nil {
		return result, err
	}
	result.UIDValidity = target.backend.View().UIDValidity
	return result, nil
}

func errExpunged(uid mailbox.UID) error {
	return fmt.Errorf("account: copying UID %d: %w", uid, mailbox.ErrExpunged)
}

// expunged reports whether a message is gone. If it is not, what was not found is the target.
func (m *Mailbox) expunged(ctx context.Context, uid mailbox.UID) bool {
	_, err := m.backend.Stat(ctx, uid)
	return errors.Is(err, mailbox.ErrNotFound)
}

// readable reports whether the login can read a message.
func (m *Mailbox) readable(ctx context.Context, uid mailbox.UID) bool {
	msg, err := m.Read(ctx, uid)
	if err != nil {
		return false
	}
	msg.Close()
	return true
}

// A streamHeader is what copying needs to know of a stored message.
type streamHeader struct {
	encrypted  bool
	recipients []dcrypt.Recipient
}

// header looks at the beginning of a stored message. One that is damaged counts as
// encrypted, with no recipient: copying it must not make it look well. So does an empty
// one, which is stored as an empty file whatever the settings.
func (m *Mailbox) header(ctx context.Context, msg mailbox.Message) (streamHeader, error) {
	h, err := m.store.Header(ctx, msg.UID)
	var damage *storage.ReadError
	switch {
	case errors.As(err, &damage) && damage.Kind != storage.IO:
		return streamHeader{encrypted: true}, nil
	case err != nil:
		return streamHeader{}, err
	case h == nil:
		return streamHeader{encrypted: msg.Sizes.Stored == 0}, nil
	}
	return streamHeader{true, h.Recipients}, nil
}

// resave reads a message and saves it in the target.
func (m *Mailbox) resave(ctx context.Context, uid mailbox.UID, target *Mailbox, info mailbox.SaveInfo) (mailbox.UID, error) {
	msg, err := m.Read(ctx, uid)
	if err != nil {
		return 0, err
	}
	defer msg.Close()
	a, err := target.save(ctx, info, m.login.set.Store) // it is there already, however large
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(a, io.NewSectionReader(msg, 0, msg.Size())); err != nil {
		return 0, errors.Join(err, a.Abort())
	}
	return a.Commit()
}
