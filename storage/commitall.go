package storage

import (
	"context"
	"errors"
	"fmt"

	"mailcrypt/mailbox"
)

// CommitAll is Commit for several messages of this Store, all or none (RFC 3502): after
// an error nothing is left of any. The UIDs are in the order of the messages and ascend.
// What can fail of writing fails before the first message shows. Where the Backend is no
// GroupCommitter the messages become visible one by one, and are removed again if a later
// one fails.
func (s *Store) CommitAll(ctx context.Context, messages []*Appender) (uids []mailbox.UID, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, a := range messages {
			err = errors.Join(err, a.Abort())
		}
	}()
	pending := make([]mailbox.Pending, len(messages))
	sizes := make([]mailbox.Sizes, len(messages))
	for i, a := range messages {
		if a.backend != s.backend {
			return nil, fmt.Errorf("storage: saving together: messages of another mailbox: %w", errors.ErrUnsupported)
		}
		if err := a.Finish(); err != nil {
			return nil, err
		}
		pending[i], sizes[i] = a.file.p, a.sizes
	}
	group, ok := s.backend.(GroupCommitter)
	if !ok || len(messages) < 2 {
		return s.commitEach(ctx, messages)
	}
	if admit := messages[0].admit; admit != nil {
		// Asked once: the room that one of them would take is none that another waits for.
		done, err := admit(len(messages), sum(sizes))
		if err != nil {
			return nil, err
		}
		defer done()
	}
	for _, a := range messages {
		a.end()
	}
	if uids, err = group.CommitAll(ctx, pending, sizes); err != nil {
		return nil, fmt.Errorf("storage: saving: %w", err)
	}
	return uids, nil
}

// commitEach shows one message after the other.
func (s *Store) commitEach(ctx context.Context, messages []*Appender) (uids []mailbox.UID, err error) {
	for _, a := range messages {
		uid, err := a.Commit()
		if err != nil {
			if len(uids) > 0 {
				err = errors.Join(err, s.backend.Expunge(context.WithoutCancel(ctx), uids))
			}
			return nil, err
		}
		uids = append(uids, uid)
	}
	return uids, nil
}

// sum adds sizes up.
func sum(sizes []mailbox.Sizes) (total mailbox.Sizes) {
	for _, s := range sizes {
		total.Physical += s.Physical
		total.Virtual += s.Virtual
		total.Stored += s.Stored
	}
	return total
}
