package main

import (
	"errors"
	"fmt"
)

// changing: flags and copies of many messages by one command.
func (b *bench) changing() []work {
	all := b.n(10_000)
	copied := b.n(1000)
	return []work{
		b.change("store", all, all, `STORE 1:* +FLAGS.SILENT (\Flagged)`, "UID SEARCH FLAGGED"),
		b.change("copy", all, copied, fmt.Sprintf("COPY 1:%d Other", copied), ""),
		b.change("expunge", all, copied, "EXPUNGE", ""),
	}
}

// change runs a command that concerns count of the mails of a mailbox. check is a SEARCH that
// must find them afterwards; without it they are counted where they have come or gone.
func (b *bench) change(name string, mails, count int, command, check string) work {
	return work{name: fmt.Sprintf("%s/%d", name, count), unit: "message", count: count, subjects: b.pair(),
		prepare: func(s subject, verify bool) (func() error, func(), error) {
			store, err := b.written(s, mails, 4<<10)
			if err != nil {
				return nil, nil, err
			}
			user, err := b.given(s, store)
			done := func() { s.forget([]string{user}) }
			if err != nil {
				return nil, done, err
			}
			c, err := loginIMAP(s.imap, user, "INBOX")
			if err != nil {
				return nil, done, err
			}
			switch name {
			case "copy":
				if _, err = c.do("CREATE Other", nil); err == nil {
					err = c.appendMail("Other", b.pool(1, 4<<10))
				}
			case "expunge":
				_, err = c.do(fmt.Sprintf(`STORE 1:%d +FLAGS.SILENT (\Deleted)`, count), nil)
			}
			if err != nil {
				return nil, func() { c.close(); done() }, err
			}
			run := func() error {
				_, err := c.do(command, nil)
				if err == nil && verify {
					err = changed(c, name, mails, count, check)
				}
				return err
			}
			return run, func() { c.logout(); done() }, nil
		}}
}

func changed(c *imapClient, name string, mails, count int, search string) error {
	if search != "" {
		a, err := c.do(search, nil)
		if err == nil && a.search != count {
			err = fmt.Errorf("bench: after the change %d messages are found, not %d", a.search, count)
		}
		return err
	}
	box, want := "INBOX", mails-count
	if name == "copy" {
		box, want = "Other", count+1
	}
	a, err := c.do("SELECT "+box, nil)
	if err == nil && a.exists != want {
		err = fmt.Errorf("bench: %s has %d messages, not %d", box, a.exists, want)
	}
	if err == nil && want > 0 {
		var b reply
		b, err = c.do(fmt.Sprintf("FETCH %d BODY.PEEK[]", want), check)
		if b.fetches != 1 {
			err = errors.Join(err, errors.New("bench: the last message cannot be read"))
		}
	}
	return err
}
