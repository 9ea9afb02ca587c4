package main

import (
	"fmt"
)

// growing: the same work in mailboxes of 1,000, 10,000 and 100,000 messages, and over 64
// connections. With Maildir both servers have copies of what Dovecot wrote; each has seen its
// copy before.
func (b *bench) growing() (list []work) {
	kept := map[string]string{} // users, by server and size: these works change little
	for _, mails := range []int{1000, 10_000, 100_000} {
		mails = b.n(mails)
		list = append(list,
			b.grown(kept, "select", "command", 20, mails, func(c *imapClient) error {
				for range 20 {
					a, err := c.do("SELECT INBOX", nil)
					if err == nil && a.exists < mails {
						err = fmt.Errorf("bench: %d messages, not %d", a.exists, mails)
					}
					if err != nil {
						return err
					}
				}
				return nil
			}),
			b.grown(kept, "flags", "message", mails, mails, func(c *imapClient) error {
				a, err := c.do(fmt.Sprintf("FETCH 1:%d (UID FLAGS)", mails), nil)
				if err == nil && a.fetches != mails {
					err = fmt.Errorf("bench: %d FETCH responses, not %d", a.fetches, mails)
				}
				return err
			}),
			b.grown(kept, "append", "message", 50, mails, func(c *imapClient) error {
				for _, m := range b.pool(50, 4<<10) {
					if err := c.appendMail("INBOX", [][]byte{m}); err != nil {
						return err
					}
				}
				return nil
			}))
	}
	return append(list, b.saveWork("lmtp", "4k", 64, b.n(20), 4<<10, b.pair()), b.saveWork("append", "4k", 64, b.n(20), 4<<10, b.pair()))
}

// grown runs do in a new login of the one user whose INBOX has so many mails.
func (b *bench) grown(kept map[string]string, name, unit string, count, mails int, do func(*imapClient) error) work {
	pair := b.pair()
	by := pair
	if b.driver == "maildir" {
		pair[1] = b.subject(b.ours, shared)
		by = []subject{pair[0], pair[0]}
	}
	return work{name: fmt.Sprintf("grow/%s/%d", name, mails), unit: unit, count: count, subjects: pair,
		prepare: func(s subject, _ bool) (func() error, func(), error) {
			writer := by[0]
			if s.server == b.ours {
				writer = by[1]
			}
			key := fmt.Sprint(s.label, mails)
			if kept[key] == "" {
				store, err := b.written(writer, mails, 2<<10)
				if err != nil {
					return nil, nil, err
				}
				user, err := b.given(s, store)
				if err != nil {
					return nil, nil, err
				}
				kept[key] = user
			}
			c, err := loginIMAP(s.imap, kept[key], "INBOX")
			if err != nil {
				return nil, nil, err
			}
			return func() error { return do(c) }, func() { c.logout() }, nil
		}}
}
