package admin

import (
	"context"
	"time"
)

// A Session is a connection of a client.
type Session struct {
	ID      uint64    `json:"id"`      // unique while the daemon runs
	Service string    `json:"service"` // "imap"
	User    string    `json:"user,omitempty"`
	Master  string    `json:"master,omitempty"`  // master user who acts for the user
	Remote  string    `json:"remote"`            // address without port, or "unix"
	TLS     bool      `json:"tls,omitempty"`     // to the client, or to its proxy
	Since   time.Time `json:"since"`             // when it was opened
	Mailbox string    `json:"mailbox,omitempty"` // the selected one
	Command string    `json:"command,omitempty"` // under way
}

// Sessions are the open connections of a daemon. *imapd.Server is adapted to it.
type Sessions interface {
	// Sessions lists them, the oldest first.
	Sessions() []Session
	// Kick ends those that fn chooses, each after the command under way, and returns them.
	Kick(ctx context.Context, fn func(Session) bool) []Session
}

// A WhoRequest asks for sessions.
type WhoRequest struct {
	// User is a name, in which * stands for anything; "" means all, also those before login.
	User string `json:"user,omitempty"`
	// Remote is an address or a network such as 192.0.2.0/24.
	Remote string `json:"remote,omitempty"`
	// IDs restricts it to some.
	IDs []uint64 `json:"ids,omitempty"`
}

// A KickRequest asks to end sessions. One of the fields must be given; User "*" means all.
type KickRequest WhoRequest

// A WhoResult has sessions, the oldest first.
type WhoResult struct {
	Sessions []Session `json:"sessions"`
}

// A ListUsersRequest asks for users.
type ListUsersRequest struct {
	Mask string `json:"mask,omitempty"` // in which * stands for anything; "" means all
}

// A ListUsersResult has users in the order of the user database.
type ListUsersResult struct {
	Users []UserInfo `json:"users"`
}

// A UserInfo is a user.
type UserInfo struct {
	Name  string `json:"name"`
	Home  string `json:"home,omitempty"`
	Error string `json:"error,omitempty"` // why the user cannot be used
}
