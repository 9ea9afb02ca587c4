package imapd

import (
	"errors"
	"strings"
	"time"
)

// A command is a row of the command table. The name of a command on UIDs begins
// with "UID ".
type command struct {
	name   string
	states state
	run    func(*session, *call) error
	// expunge says that EXPUNGE may be sent at the command's end. It may not where
	// sequence numbers of commands under way could be meant (RFC 9051 section 7.5.1).
	expunge bool
	// fresh looks at the store itself for what other programs changed.
	fresh bool
}

// A call is one command being run.
type call struct {
	tag string
	*command
	uid bool // the numbers of the command are UIDs
	// silent are messages whose change the client knows already; see announce.
	silent *silence
	// numbers says that the command used message numbers in spite of its name: UID SEARCH
	// with them must not be answered with VANISHED (RFC 7162 section 3.2.10.2).
	numbers bool
	modseq  bool // the command searched by modseq, and its result says one
}

// commandTable lists every command. Extensions add rows.
func commandTable() map[string]*command {
	const sel = selectedState
	table := map[string]*command{}
	for _, c := range []command{
		{"CAPABILITY", anyState, (*session).capability, true, false},
		{"NOOP", anyState, (*session).noop, true, true},
		{"LOGOUT", anyState, (*session).logout, false, false},
		{"ID", anyState, (*session).id, true, false},

		{"STARTTLS", notAuthenticated, (*session).starttls, false, false},
		{"AUTHENTICATE", notAuthenticated, (*session).authenticate, false, false},
		{"LOGIN", notAuthenticated, (*session).loginCommand, false, false},

		{"COMPRESS", userState, (*session).compress, true, false},
		{"UNAUTHENTICATE", userState, (*session).unauthenticate, false, false},
		{"ENABLE", userState, (*session).enable, true, false},
		{"NAMESPACE", userState, (*session).namespace, true, false},
		{"SELECT", userState, (*session).selectCommand, false, false},
		{"EXAMINE", userState, (*session).examine, false, false},
		{"CREATE", userState, (*session).create, true, false},
		{"DELETE", userState, (*session).delete, true, false},
		{"RENAME", userState, (*session).rename, true, false},
		{"SUBSCRIBE", userState, (*session).subscribe, true, false},
		{"UNSUBSCRIBE", userState, (*session).unsubscribe, true, false},
		{"LIST", userState, (*session).list, true, false},
		{"LSUB", userState, (*session).lsub, true, false},
		{"STATUS", userState, (*session).status, true, false},
		{"GETMETADATA", userState, (*session).getMetadata, true, false},
		{"SETMETADATA", userState, (*session).setMetadata, true, false},
		{"GETQUOTA", userState, (*session).getQuota, true, false},
		{"GETQUOTAROOT", userState, (*session).getQuotaRoot, true, false},
		{"SETQUOTA", userState, (*session).setQuota, true, false},
		{"APPEND", userState, (*session).append, true, true},
		{"IDLE", userState, (*session).idle, true, true},
		{"NOTIFY", userState, (*session).notifyCommand, true, true},

		{"CHECK", sel, (*session).check, true, true},
		{"CLOSE", sel, (*session).closeCommand, false, false},
		{"UNSELECT", sel, (*session).unselect, false, false},
		{"EXPUNGE", sel, (*session).expunge, true, true},
		{"UID EXPUNGE", sel, (*session).expunge, true, true},
		{"FETCH", sel, (*session).fetch, false, false},
		{"UID FETCH", sel, (*session).fetch, true, false},
		{"STORE", sel, (*session).store, false, false},
		{"UID STORE", sel, (*session).store, true, false},
		{"SEARCH", sel, (*session).search, false, false},
		{"UID SEARCH", sel, (*session).search, true, false},
		{"SORT", sel, (*session).sort, false, false},
		{"UID SORT", sel, (*session).sort, true, false},
		{"THREAD", sel, (*session).thread, false, false},
		{"UID THREAD", sel, (*session).thread, true, false},
		{"COPY", sel, (*session).copy, true, false},
		{"UID COPY", sel, (*session).copy, true, false},
		{"REPLACE", sel, (*session).replace, true, true},
		{"UID REPLACE", sel, (*session).replace, true, true},
		{"MOVE", sel, (*session).move, true, true},
		{"UID MOVE", sel, (*session).move, true, true},
	} {
		table[c.name] = &c
	}
	return table
}

// command runs the command whose first line has been read. An error ends the
// connection.
func (s *session) command() error {
	begun := time.Now()
	c, err := s.readCommand()
	if err == nil {
		s.publish(c.name)
		err = c.run(s, c)
		s.publish("")
	}
	if fatal := s.connectionError(err); fatal != nil {
		return fatal
	}
	// What is left of the command, refused literals included, must never be taken
	// for the next one.
	fatal := s.dec.Skip()
	if c.command != nil && c.states == notAuthenticated {
		s.dec.Wipe() // the line may hold a password
	}
	if s.box != nil && (c.command == nil || !strings.HasSuffix(c.name, "FETCH")) {
		s.box.reader.drop() // no plaintext is kept for a client that does not read
	}
	st := s.statusOf(c, err)
	if fatal == nil && c.command != nil && st.kind != "BAD" {
		fatal = s.announce(c)
	}
	s.writeStatus(c.tag, s.endModSeqs(st))
	if err := s.enc.Flush(); err != nil {
		return err
	}
	if c.command != nil {
		s.srv.opts.Metrics.Command(c.name, st.kind, time.Since(begun))
	}
	if fatal != nil {
		return fatal
	}
	if s.bad++; st.kind != "BAD" {
		s.bad = 0
	}
	if s.bad >= maxBad || s.bad >= maxBadBefore && s.state == notAuthenticated {
		return errTooManyBad
	}
	if run := s.after; run != nil {
		s.after = nil
		return run()
	}
	return nil
}

// readCommand reads tag and name and finds the command. The call is never nil; its
// tag is "*" where none could be read.
func (s *session) readCommand() (*call, error) {
	c := &call{tag: "*"}
	tag, err := s.dec.Tag()
	if err != nil {
		return c, err
	}
	c.tag = tag
	if err := s.dec.SP(); err != nil {
		if !s.dec.AtEnd() {
			c.tag = "*" // what was read could be the tag of another command
			return c, bad("Invalid tag.")
		}
		return c, bad("Missing command.")
	}
	name, err := s.dec.Keyword()
	if err != nil {
		return c, bad("Missing command.")
	}
	if name == "UID" {
		if err := s.dec.SP(); err != nil {
			return c, bad("Missing command after UID.")
		}
		if name, err = s.dec.Keyword(); err != nil {
			return c, bad("Missing command after UID.")
		}
		c.uid = true
		name = "UID " + name
	}
	cmd, ok := s.srv.commands[name]
	switch {
	case !ok:
		return c, bad("Unknown command.")
	case cmd.states&s.state == 0 && s.state == notAuthenticated:
		return c, bad("Please log in first.")
	case cmd.states&s.state == 0 && s.state == authenticated && cmd.states == selectedState:
		return c, bad("No mailbox selected.")
	case cmd.states&s.state == 0:
		return c, bad("Command not allowed now.")
	}
	c.command = cmd
	return c, nil
}

// args parses arguments in their order, each after a space, up to the command's end.
func (s *session) args(parse ...func() error) error {
	for _, p := range parse {
		if err := s.dec.SP(); err != nil {
			return err
		}
		if err := p(); err != nil {
			return err
		}
	}
	return s.dec.End()
}

// noop is NOOP: all it does is to let announce look at the store.
func (s *session) noop(*call) error { return s.dec.End() }

// check is CHECK of RFC 3501; everything is durable already.
func (s *session) check(*call) error { return s.dec.End() }

// logout is LOGOUT. BYE comes before the tagged OK (RFC 9051 section 6.1.3).
func (s *session) logout(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.closeBox()
	s.writeStatus("*", &status{"BYE", "", "Logging out."})
	s.state = loggedOut
	return nil
}

// connectionError returns what ended the connection while a command ran, if anything.
func (s *session) connectionError(err error) error {
	var broken *brokenError
	switch {
	case errors.As(err, &broken), errors.Is(err, errGone):
		return err
	case s.dec.Err() != nil:
		return s.dec.Err()
	}
	return s.enc.Err()
}

// completed is the text of a success: "Fetch completed."
func completed(name string) string {
	name = strings.TrimPrefix(name, "UID ")
	return name[:1] + strings.ToLower(name[1:]) + " completed."
}
