package main

import (
	"context"

	"mailcrypt/admin"
	"mailcrypt/imapd"
)

// sessions are the connections of an IMAP server as administration takes them.
type sessions struct{ imap *imapd.Server }

// Sessions implements admin.Sessions.
func (s sessions) Sessions() []admin.Session { return adminSessions(s.imap.Sessions()) }

// Kick implements admin.Sessions.
func (s sessions) Kick(_ context.Context, fn func(admin.Session) bool) []admin.Session {
	return adminSessions(s.imap.Kick(func(i imapd.SessionInfo) bool { return fn(adminSession(i)) }))
}

func adminSessions(list []imapd.SessionInfo) []admin.Session {
	out := make([]admin.Session, 0, len(list))
	for _, i := range list {
		out = append(out, adminSession(i))
	}
	return out
}

func adminSession(i imapd.SessionInfo) admin.Session {
	return admin.Session{ID: i.ID, Service: "imap", User: i.User, Master: i.Master, Remote: i.Remote, TLS: i.TLS,
		Since: i.Since, Mailbox: i.Mailbox, Command: i.Command}
}
