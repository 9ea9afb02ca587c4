package main

import (
	"fmt"
	"time"
)

// A fact is something counted or weighed, no matter of time.
type fact struct{ what, server, value string }

// idling: memory of connections that have selected INBOX and wait in IDLE, over TLS. Twenty
// connections are of one user.
func (b *bench) idling() []work {
	return []work{{name: "idle/tls", facts: func() ([]fact, error) {
		var list []fact
		for i, count := range []int{b.n(500), b.n(500), b.n(10_000)} {
			s := b.subject(b.dove, open)
			if i > 0 {
				s = b.subject(b.ours, open)
			}
			f, err := b.idle(s, count)
			if err != nil {
				return list, fmt.Errorf("%s: %w", s.label, err)
			}
			list = append(list, f)
		}
		return list, nil
	}}}
}

func (b *bench) idle(s subject, count int) (f fact, err error) {
	users, err := b.ready(s, (count+19)/20)
	if err != nil {
		return f, err
	}
	if err := s.restart(); err != nil { // what has been is no part of it
		return f, err
	}
	if c, err := loginIMAP(s.imap, users[0], "INBOX"); err != nil { // processes and heaps that exist anyway
		return f, err
	} else if err := c.logout(); err != nil {
		return f, err
	}
	before := s.pss()
	list := make([]*imapClient, count)
	defer func() {
		for _, c := range list {
			if c != nil {
				c.close()
			}
		}
	}()
	const dialers = 8
	err = atOnce(dialers, func(d int) error {
		for i := d; i < count; i += dialers {
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			if err := b.idleOne(s, users[i/20], &list[i]); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	time.Sleep(5 * time.Second) // buffers of the logins are given back
	after := s.pss()
	each := float64(after-before) / float64(count)
	return fact{fmt.Sprintf("memory (PSS) of each of %d idle TLS connections", count), s.label,
		fmt.Sprintf("%.1f KiB; all %.1f MiB", each/1024, float64(after)/(1<<20))}, nil
}

func (b *bench) idleOne(s subject, user string, to **imapClient) error {
	c, err := dialIMAP(s.imaps, b.tls())
	if err != nil {
		return err
	}
	*to = c
	for _, command := range []string{"LOGIN " + user + " " + password, "SELECT INBOX"} {
		if _, err := c.do(command, nil); err != nil {
			return err
		}
	}
	if _, err := c.w.WriteString("i IDLE\r\n"); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	line, err := c.line()
	if err == nil && line[0] != '+' {
		err = fmt.Errorf("bench: IDLE: %.100s", line)
	}
	c.r, c.w, c.lit = nil, nil, nil // thousands of buffers would crowd the servers
	return err
}
