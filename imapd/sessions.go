package imapd

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// kickPatience is how long a kicked session may go on with the command under way.
const kickPatience = 10 * time.Second

// A SessionInfo is a connection as an administrator sees it.
type SessionInfo struct {
	ID      uint64 // unique while the Server lives
	User    string // "" before login
	Master  string // who acts for the user; "" is the user
	Remote  string // the client's address without port, or its network where it has none
	TLS     bool   // to the client, or to a proxy that is believed
	Since   time.Time
	Mailbox string // the selected one, in UTF-8
	Command string // the one under way; "" where the session waits
}

// public is what other goroutines may know of a session.
type public struct {
	mu                             sync.Mutex
	user, master, mailbox, command string
	tls                            bool
}

// publish tells what the session does now.
func (s *session) publish(command string) {
	user, master, mailbox := "", "", ""
	if s.login != nil {
		user = s.login.User()
		if m, ok := s.login.(interface{ Master() string }); ok {
			master = m.Master()
		}
	}
	if s.box != nil {
		mailbox = s.box.name
	}
	p := &s.public
	p.mu.Lock()
	defer p.mu.Unlock()
	p.user, p.master, p.mailbox, p.command = user, master, mailbox, command
	p.tls = s.tls || s.proxyTLS
}

func (s *session) info() SessionInfo {
	p := &s.public
	p.mu.Lock()
	defer p.mu.Unlock()
	return SessionInfo{ID: s.number, User: p.user, Master: p.master, Remote: s.addr, TLS: p.tls,
		Since: s.conn.begun, Mailbox: p.mailbox, Command: p.command}
}

// Sessions lists the open connections, the oldest first.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]SessionInfo, 0, len(s.sessions))
	for ss := range s.sessions {
		list = append(list, ss.info())
	}
	slices.SortFunc(list, func(a, b SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Kick ends the sessions that fn chooses and returns them. A session that waits for its
// client says BYE at once, another one after the command under way; one that takes longer than
// ten seconds is cut off. fn must not call the Server.
func (s *Server) Kick(fn func(SessionInfo) bool) []SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []SessionInfo
	for ss := range s.sessions {
		info := ss.info()
		if !fn(info) {
			continue
		}
		list = append(list, info)
		ss.conn.kick()
		time.AfterFunc(kickPatience, ss.conn.abort) // of one that has ended it does nothing
	}
	slices.SortFunc(list, func(a, b SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
