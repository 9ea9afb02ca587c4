package main

import (
	"fmt"
	"slices"
)

// Sizes of mail, as names of works have them.
var sizes = []struct {
	name  string
	bytes int
	count int // messages a connection saves in a round
}{{"4k", 4 << 10, 200}, {"64k", 64 << 10, 100}, {"1m", 1 << 20, 20}}

// works are all of them, in the order of the table.
func (b *bench) works() []work {
	return slices.Concat(b.saving(), b.reading(), b.searching(), b.changing(), b.loggingIn(),
		b.growing(), b.plain(), b.keyWork(), b.idling(), b.syncing())
}

// pair is Dovecot and mailcryptd, users sealed by a password.
func (b *bench) pair() []subject {
	return []subject{b.subject(b.dove, sealed), b.subject(b.ours, sealed)}
}

// saving: by LMTP and by APPEND, each connection into a mailbox of its own.
func (b *bench) saving() (list []work) {
	for _, how := range []string{"lmtp", "append"} {
		for _, size := range sizes {
			for _, conns := range []int{1, 8} {
				list = append(list, b.saveWork(how, size.name, conns, b.n(size.count), size.bytes, b.pair()))
			}
		}
		list = append(list, b.sameMailbox(how))
	}
	return append(list, b.multiAppend())
}

// multiAppend saves a thousand messages by one command.
func (b *bench) multiAppend() work {
	count := b.n(1000)
	return work{
		name: "multiappend/1000", unit: "message", count: count, subjects: b.pair(),
		prepare: func(s subject, verify bool) (func() error, func(), error) {
			c, users, err := b.session(s, 1)
			if err != nil {
				return nil, nil, err
			}
			pool := b.pool(count, 4<<10)
			run := func() error {
				err := c[0].appendMail("INBOX", pool)
				if err == nil && verify {
					err = verifyInbox(s, users[0], count)
				}
				return err
			}
			return run, func() { c[0].logout(); s.forget(users) }, nil
		},
	}
}

// saveWork saves count messages over each of conns connections.
func (b *bench) saveWork(how, size string, conns, count, bytes int, subjects []subject) work {
	return work{
		name: fmt.Sprintf("%s/%s/%dc", how, size, conns), unit: "message", count: conns * count,
		bytes: int64(conns * count * bytes), subjects: subjects,
		prepare: func(s subject, verify bool) (func() error, func(), error) {
			users, err := b.ready(s, conns)
			if err != nil {
				return nil, nil, err
			}
			return b.saver(s, how, users, count, bytes, verify)
		},
	}
}

// sameMailbox saves over eight connections into one mailbox.
func (b *bench) sameMailbox(how string) work {
	count := b.n(200)
	return work{
		name: how + "/4k/8c-one-mailbox", unit: "message", count: 8 * count, bytes: int64(8 * count * 4 << 10), subjects: b.pair(),
		prepare: func(s subject, verify bool) (func() error, func(), error) {
			users, err := b.ready(s, 1)
			if err != nil {
				return nil, nil, err
			}
			return b.saver(s, how, slices.Repeat(users, 8), count, 4<<10, verify)
		},
	}
}
