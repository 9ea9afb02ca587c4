package main

import (
	"fmt"
	"strings"
)

// What a server may know of mail before it reads it.
const (
	removed   = "first"        // its caches are removed
	delivered = "as delivered" // what saving has left
	again     = "again"        // what the same command has left
)

// A readWork is one command over a whole mailbox.
type readWork struct {
	name    string
	count   int // mails in the mailbox
	size    int // of each
	command string
	known   string
	foreign bool // both read what Dovecot wrote
	bytes   bool // bodies are read, and speed is told in bytes too
	want    func(reply) error
}

// foreigners says whether mailcryptd reads what Dovecot wrote, too: of mdbox it keeps a catalog
// of its own, which a copy of Dovecot's has not.
func (b *bench) foreigners() []bool {
	if b.driver == "mdbox" {
		return []bool{false}
	}
	return []bool{false, true}
}

// reading: FETCH of everything that clients ask for.
func (b *bench) reading() (list []work) {
	for _, foreign := range b.foreigners() {
		list = append(list,
			b.read(readWork{name: "fetch/body/4k", count: b.n(1000), size: 4 << 10, command: "FETCH 1:* BODY.PEEK[]", known: delivered, foreign: foreign, bytes: true}),
			b.read(readWork{name: "fetch/body/1m", count: b.n(100), size: 1 << 20, command: "FETCH 1:* BODY.PEEK[]", known: delivered, foreign: foreign, bytes: true}))
	}
	for _, item := range []string{"ENVELOPE", "BODYSTRUCTURE"} {
		w := readWork{name: "fetch/" + strings.ToLower(item), count: b.n(10_000), size: 4 << 10, command: "FETCH 1:* " + item}
		for _, w.known = range []string{removed, delivered, again} {
			list = append(list, b.read(w))
		}
		if w.known, w.foreign = removed, true; len(b.foreigners()) > 1 {
			list = append(list, b.read(w))
		}
	}
	return append(list, b.read(readWork{name: "fetch/flags", count: b.n(10_000), size: 4 << 10, command: "FETCH 1:* (FLAGS UID)", known: again}))
}

// searching: by a header field and by text.
func (b *bench) searching() (list []work) {
	count := b.n(10_000)
	rare := 0
	for n := range count {
		if n%rareEvery == 7 {
			rare++
		}
	}
	want := func(a reply) error {
		if a.search != rare {
			return fmt.Errorf("bench: SEARCH found %d messages, not %d", a.search, rare)
		}
		return nil
	}
	w := readWork{name: "search/from", count: count, size: 4 << 10, command: `SEARCH FROM "quaxworthy"`, want: want}
	for _, w.known = range []string{removed, delivered, again} {
		list = append(list, b.read(w))
	}
	w = readWork{name: "search/body", count: count, size: 4 << 10, command: `SEARCH BODY "` + rareWord + `"`, want: want}
	for _, w.known = range []string{delivered, again} {
		list = append(list, b.read(w))
	}
	return list
}

// read makes the work of a readWork. A round has a copy of the store, in which the servers
// have only what is known.
func (b *bench) read(r readWork) work {
	subjects, name := b.pair(), r.name+"/"+strings.ReplaceAll(r.known, " ", "-")
	if r.foreign {
		subjects[1] = b.subject(b.ours, shared)
		name += "/dovecots"
	}
	w := work{name: name, unit: "message", count: r.count, subjects: subjects}
	if r.bytes {
		w.bytes = int64(r.count * r.size)
	}
	w.prepare = func(s subject, verify bool) (func() error, func(), error) {
		by := s
		if r.foreign {
			by = b.subject(b.dove, sealed)
		}
		return b.reader(s, by, r, verify)
	}
	return w
}

func (b *bench) reader(s, by subject, r readWork, verify bool) (run func() error, done func(), err error) {
	store, err := b.written(by, r.count, r.size)
	if err != nil {
		return nil, nil, err
	}
	user, err := b.given(s, store)
	done = func() { s.forget([]string{user}) }
	if err != nil {
		return nil, done, err
	}
	switch r.known {
	case removed:
		err = s.dropCaches(user)
	case again:
		var c *imapClient
		if c, err = loginIMAP(s.imap, user, "INBOX"); err == nil {
			if _, err = c.do(r.command, nil); err == nil {
				err = c.logout()
			}
		}
	}
	if err != nil {
		return nil, done, err
	}
	c, err := loginIMAP(s.imap, user, "INBOX")
	if err != nil {
		return nil, done, err
	}
	run = func() error { return r.run(c, verify) }
	return run, func() { c.logout(); s.forget([]string{user}) }, nil
}

// run does the command and counts what comes.
func (r readWork) run(c *imapClient, verify bool) error {
	var each func([]byte) error
	if verify && r.bytes {
		each = check
	}
	a, err := c.do(r.command, each)
	switch {
	case err != nil:
		return err
	case r.want != nil:
		return r.want(a)
	case a.fetches != r.count:
		return fmt.Errorf("bench: %d FETCH responses, not %d", a.fetches, r.count)
	case r.bytes && a.bytes != int64(r.count*r.size):
		return fmt.Errorf("bench: %d bytes of bodies, not %d", a.bytes, r.count*r.size)
	}
	return nil
}
