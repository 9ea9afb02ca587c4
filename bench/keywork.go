package main

import (
	"fmt"
	"time"
)

// keyWork: a change of password, by each server's tool as an administrator calls it, the start
// of the program included, and a new user key with all folders' keys.
func (b *bench) keyWork() (list []work) {
	folders := b.n(100)
	boxes := make([]string, folders)
	for i := range boxes {
		boxes[i] = fmt.Sprintf("Folder%d", i)
	}
	users := map[string]string{}
	user := func(s subject) (string, error) {
		if users[s.label] == "" {
			u, err := b.begin(s, boxes...)
			if err != nil {
				return "", err
			}
			users[s.label] = u
		}
		return users[s.label], nil
	}
	change := func(s subject, from, to string) error {
		return s.admin(b.ctx, "mailbox", "cryptokey", "password", "-u", users[s.label], "-o", from, "-n", to)
	}
	return []work{
		{name: fmt.Sprintf("keys/password/%d-folders", folders), unit: "change", count: 1, subjects: b.pair(),
			prepare: func(s subject, _ bool) (func() error, func(), error) {
				if _, err := user(s); err != nil {
					return nil, nil, err
				}
				run := func() error { return change(s, secret, "other") }
				return run, func() { change(s, "other", secret) }, nil
			}},
		{name: "keys/rewrap", facts: func() ([]fact, error) {
			// Of mailcryptd alone: Dovecot's generate -U -R makes a user key and stops.
			s := b.subject(b.ours, sealed)
			u, err := user(s)
			if err != nil {
				return nil, err
			}
			cpu, began := s.cpu(), time.Now()
			if err := s.admin(b.ctx, "mailbox", "cryptokey", "generate", "-u", u, "-U", "-R", "-f"); err != nil {
				return nil, err
			}
			return []fact{{fmt.Sprintf("a new user key around %d folder keys", folders+1), s.label,
				fmt.Sprintf("%.2f s, %.2f s of a core", time.Since(began).Seconds(), (s.cpu() - cpu).Seconds())}}, nil
		}},
	}
}
