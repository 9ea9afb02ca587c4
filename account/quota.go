package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"mailcrypt/mailbox"
	"mailcrypt/quota"
	"mailcrypt/storage"
)

// A ledger holds what is being saved to a user's mailboxes, so that two who save at once do
// not both get the last room.
type ledger struct {
	mu      sync.Mutex
	pending quota.Usage
	settled chan struct{} // closed when something is no longer pending
}

// A reservation is room that somebody is filling. What has landed in a mailbox is taken off
// it, for the mailbox shows it from then on.
type reservation struct {
	ledger *ledger
	left   quota.Usage
}

// landed takes what was saved off the reservation.
func (r *reservation) landed(u quota.Usage) {
	if r.ledger == nil {
		return
	}
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	minus := quota.Usage{Bytes: -min(u.Bytes, r.left.Bytes), Messages: -min(u.Messages, r.left.Messages)}
	r.left = r.left.Add(minus)
	l.pending = l.pending.Add(minus)
	if l.settled != nil {
		close(l.settled)
		l.settled = nil
	}
}

// done gives back all that is left.
func (r *reservation) done() { r.landed(quota.Usage{Bytes: quota.NoLimit, Messages: quota.NoLimit}) }

// usage is what all of the user's mailboxes hold that count.
func (a *account) usage(ctx context.Context, p *quota.Policy) (quota.Usage, error) {
	t, ok := a.hier.(storage.Totaler)
	if !ok {
		return quota.Usage{}, fmt.Errorf("account: counting mail: %w", errors.ErrUnsupported)
	}
	sum, err := t.Totals(ctx, p.Ignores)
	if err != nil {
		return quota.Usage{}, fmt.Errorf("account: counting mail: %w", err)
	}
	return quota.Usage{Bytes: sum.Bytes, Messages: sum.Messages}, nil
}

// A purse is a user's quota as one login or delivery sees it.
type purse struct {
	account *account
	policy  *quota.Policy
	grace   bool // a delivery may fill the mailbox a little beyond its limit, once
	log     *slog.Logger
}

// admit asks whether something may be saved to a mailbox, and keeps the room for it; the
// error is a *quota.Error where there is none. The caller calls done. Where the mail cannot
// be counted the answer is yes, as in Dovecot: a disk that fails is no reason to refuse
// mail.
func (p purse) admit(ctx context.Context, name string, add quota.Usage) (*reservation, error) {
	if p.policy.For(canonical(name)).Unlimited() {
		return &reservation{}, nil
	}
	l := &p.account.ledger
	for {
		wait, err := p.try(ctx, name, add)
		if err != nil {
			return nil, err
		}
		if wait == nil {
			return &reservation{l, add}, nil
		}
		// What is being saved may be in a mailbox already, and count twice for a moment: no
		// reason to refuse mail for good.
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try is one look of admit. Where there would be room without what is pending, it returns
// what to wait for.
func (p purse) try(ctx context.Context, name string, add quota.Usage) (wait <-chan struct{}, err error) {
	l := &p.account.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	used, err := p.used(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case p.allows(name, used.Add(l.pending), add):
		l.pending = l.pending.Add(add)
		return nil, nil
	case l.pending.Messages <= 0 || !p.allows(name, used, add):
		return nil, p.policy.Exceeded()
	}
	if l.settled == nil {
		l.settled = make(chan struct{})
	}
	return l.settled, nil
}

// used is the user's usage; nothing where it is not known.
func (p purse) used(ctx context.Context) (quota.Usage, error) {
	used, err := p.account.usage(ctx, p.policy)
	if err != nil && ctx.Err() != nil {
		return used, ctx.Err()
	}
	if err != nil {
		p.log.Warn("quota is not known; saving all the same", "err", err)
		return quota.Usage{}, nil
	}
	return used, nil
}

func (p purse) allows(name string, used, add quota.Usage) bool {
	grace := int64(0)
	if p.grace {
		grace = p.policy.Grace()
	}
	return p.policy.For(canonical(name)).Allow(used, add, grace)
}

// fits is admit without keeping the room, or waiting for it.
func (p purse) fits(ctx context.Context, name string, size int64) error {
	if p.policy.For(canonical(name)).Unlimited() {
		return nil
	}
	used, err := p.used(ctx)
	if err == nil && !p.allows(name, used, quota.Usage{Bytes: size, Messages: 1}) {
		err = p.policy.Exceeded()
	}
	return err
}

// options adds the question of quota to the options of a message for a mailbox, after
// what the client has announced was looked at.
func (p purse) options(ctx context.Context, name string, info mailbox.SaveInfo, o storage.Options) (storage.Options, error) {
	if p.policy.For(canonical(name)).Unlimited() {
		return o, nil
	}
	announced := quota.Usage{Bytes: info.Before}.Add(quota.Usage{Bytes: info.Announced})
	if err := p.fits(ctx, name, announced.Bytes); err != nil {
		return o, err
	}
	o.Admit = func(messages int, s mailbox.Sizes) (func(), error) {
		r, err := p.admit(ctx, name, quota.Usage{Bytes: s.Virtual, Messages: int64(messages)})
		if err != nil {
			return nil, err
		}
		return r.done, nil
	}
	return o, nil
}

// canonical is a mailbox name as rules spell it.
func canonical(name string) string {
	if strings.EqualFold(name, mailbox.Inbox) {
		return mailbox.Inbox
	}
	return name
}

// Quota is a user's quota as clients see it.
type Quota struct {
	Root   string
	Used   quota.Usage
	Limits quota.Limits
}

// Quota returns the user's quota; nil where the user has none, or none that is shown.
func (l *Login) Quota(ctx context.Context) (*Quota, error) {
	p := l.set.Quota
	if p == nil || p.Hidden || p.Limits().Unlimited() {
		return nil, nil
	}
	used, err := l.account.usage(ctx, p)
	if err != nil {
		return nil, err
	}
	return &Quota{p.Root, used, p.Limits()}, nil
}

func (l *Login) purse() purse {
	return purse{l.account, l.set.Quota, false, l.log}
}

// admitCopy asks for the room that copies of messages take. Moved messages take none,
// unless they did not count where they were.
func (m *Mailbox) admitCopy(ctx context.Context, uids []mailbox.UID, to string, moving bool) (*reservation, error) {
	p := m.login.purse()
	if p.policy.For(canonical(to)).Unlimited() || moving && !p.policy.Ignores(canonical(m.name)) {
		return &reservation{}, nil
	}
	var add quota.Usage
	view := m.backend.View()
	for _, uid := range uids {
		msg := view.Get(uid)
		if msg == nil {
			continue
		}
		if copied := copyUsage(*msg); copied.Bytes > 0 {
			add = add.Add(copied)
			continue
		}
		stat, err := m.backend.Stat(ctx, uid)
		if errors.Is(err, mailbox.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		add = add.Add(copyUsage(stat))
	}
	if add.Messages == 0 {
		return &reservation{}, nil
	}
	return p.admit(ctx, to, add)
}

// copyUsage is what a copy of a message takes, as far as is known.
func copyUsage(msg mailbox.Message) quota.Usage {
	size := msg.Sizes.Virtual
	if size < 0 {
		size = msg.Sizes.Physical
	}
	if size < 0 {
		size = max(msg.Sizes.Stored, 0)
	}
	return quota.Usage{Bytes: size, Messages: 1}
}

// Fits reports whether a message of a size may be delivered to a folder, as far as quota
// can tell; 0 asks whether any may. The error is a *quota.Error where not, or wraps
// mailbox.ErrTooLarge.
func (d *Delivery) Fits(ctx context.Context, folder string, size int64) error {
	if limit := d.set.maxMailSize(); limit > 0 && size > limit {
		return fmt.Errorf("account: more than %d bytes: %w", limit, mailbox.ErrTooLarge)
	}
	return d.purse().fits(ctx, folder, size)
}

func (d *Delivery) purse() purse {
	return purse{d.account, d.set.Quota, true, d.account.reg.log.With("user", d.set.User)}
}

// maxMailSize is the user's quota_max_mail_size; 0 is none.
func (s *Settings) maxMailSize() int64 {
	if s.Quota == nil {
		return 0
	}
	return s.Quota.MaxMailSize
}
