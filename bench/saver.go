package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// atOnce does one thing for each of n connections at the same time.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// saver has a connection for each user, and saves count messages over each.
func (b *bench) saver(s subject, how string, users []string, count, size int, verify bool) (run func() error, done func(), err error) {
	pool := b.pool(count, size)
	save := make([]func([]byte) error, len(users))
	var ends []func()
	end := func() {
		for _, f := range ends {
			f()
		}
		ends = nil
	}
	for i, u := range users {
		if how == "lmtp" {
			c, err := dialLMTP(s.lmtp)
			if err != nil {
				return nil, end, err
			}
			ends = append(ends, c.quit)
			save[i] = func(m []byte) error { return c.deliver(u, m) }
			continue
		}
		c, err := loginIMAP(s.imap, u, "")
		if err != nil {
			return nil, end, err
		}
		ends = append(ends, func() { c.logout() })
		save[i] = func(m []byte) error { return c.appendMail("INBOX", [][]byte{m}) }
	}
	run = func() error {
		err := atOnce(len(users), func(i int) error {
			for _, m := range pool {
				if err := save[i](m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !verify {
			return err
		}
		different := slices.Compact(slices.Clone(users))
		for _, u := range different {
			if err := verifyInbox(s, u, count*len(users)/len(different)); err != nil {
				return err
			}
		}
		return nil
	}
	return run, func() { end(); s.forget(users) }, nil
}

// verifyInbox wants exactly count whole mails of the corpus.
func verifyInbox(s subject, user string, count int) error {
	c, err := loginIMAP(s.imap, user, "INBOX")
	if err != nil {
		return err
	}
	a, err := c.do("FETCH 1:* BODY.PEEK[]", check)
	if err == nil && a.fetches != count {
		err = fmt.Errorf("bench: %s has %d messages, not %d", user, a.fetches, count)
	}
	return errors.Join(err, c.logout())
}

// session logs fresh users in, and selects their INBOX.
func (b *bench) session(s subject, n int) (list []*imapClient, users []string, err error) {
	if users, err = b.ready(s, n); err != nil {
		return nil, nil, err
	}
	for _, u := range users {
		c, err := loginIMAP(s.imap, u, "INBOX")
		if err != nil {
			return nil, nil, err
		}
		list = append(list, c)
	}
	return list, users, nil
}
