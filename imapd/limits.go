package imapd

import (
	"container/list"
	"net/netip"
	"time"
)

// Reasons for which a connection or a login is refused, for Metrics.
const (
	refusedShutdown    = "shutdown"
	refusedConnections = "connections"
	refusedAddress     = "address"
	refusedUser        = "user"
	refusedUserAddress = "user_address"
	refusedQueue       = "login_queue" // to make room for a newer one
)

// limits counts connections. Server.mu guards it.
type limits struct {
	open     int               // connections that count
	logins   list.List         // of *session that have not logged in, the oldest first
	perAddr  map[string]int    // by network
	perUser  map[string]int    // logins
	perPlace map[[2]string]int // logins by user and address
}

// network is what counts as one address: an IPv6 host has a /64 to choose from.
func network(addr netip.Addr) string {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// admit registers a session, or says why not, in words for the client and for Metrics.
// Where the server is full, the connection that has waited longest for a login goes.
func (s *Server) admit(ss *session) (refusal, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.opts
	switch {
	case s.closing:
		return "Server is shutting down.", refusedShutdown
	case o.MaxPerAddress > 0 && !ss.trusted() && s.perAddr[ss.network] >= o.MaxPerAddress:
		return "Too many connections from your address.", refusedAddress
	case o.MaxConnections > 0 && s.open >= o.MaxConnections && !s.evict():
		return "Too many connections.", refusedConnections
	case o.MaxLogins > 0 && s.logins.Len() >= o.MaxLogins && !s.evict():
		return "Too many connections.", refusedQueue
	}
	s.sessions[ss] = struct{}{}
	s.perAddr[ss.network]++
	s.open++
	ss.place = s.logins.PushBack(ss)
	s.done.Add(1)
	return "", ""
}

// evict makes room: it disconnects the oldest session before login of which nothing is
// under way (Dovecot: client_destroy_oldest). s.mu is held.
func (s *Server) evict() bool {
	for e := s.logins.Front(); e != nil; e = e.Next() {
		ss := e.Value.(*session)
		if ss.conn.evict() {
			s.notLogin(ss)
			s.open--
			ss.evicted = true
			s.opts.Metrics.Refused(refusedQueue)
			return true
		}
	}
	return false
}

// notLogin takes a session off the list of those before login. s.mu is held.
func (s *Server) notLogin(ss *session) {
	if ss.place != nil {
		s.logins.Remove(ss.place)
		ss.place = nil
	}
}

// enter counts a login, or says why there may be no more of the user's.
func (s *Server) enter(ss *session, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.opts
	place := [2]string{user, ss.addr}
	switch {
	case o.MaxPerUserAddress > 0 && s.perPlace[place] >= o.MaxPerUserAddress:
		o.Metrics.Refused(refusedUserAddress)
		return no("UNAVAILABLE", "Maximum number of connections from user+IP exceeded (mail_max_userip_connections="+itoa(int64(o.MaxPerUserAddress))+")")
	case o.MaxPerUser > 0 && s.perUser[user] >= o.MaxPerUser:
		o.Metrics.Refused(refusedUser)
		return no("UNAVAILABLE", "Maximum number of connections of the user exceeded.")
	}
	s.perPlace[place]++
	s.perUser[user]++
	ss.entered = user
	s.notLogin(ss)
	return nil
}

// exit undoes enter; the connection may stay.
func (s *Server) exit(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uncount(ss); ss.place == nil {
		ss.place = s.logins.PushBack(ss)
	}
}

func (s *Server) uncount(ss *session) {
	if ss.entered == "" {
		return
	}
	decrement(s.perPlace, [2]string{ss.entered, ss.addr})
	decrement(s.perUser, ss.entered)
	ss.entered = ""
}

// leave undoes admit.
func (s *Server) leave(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
	s.uncount(ss)
	s.notLogin(ss)
	decrement(s.perAddr, ss.network)
	if !ss.evicted {
		s.open--
	}
}

func decrement[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

// trusted reports whether many users may stand behind the session's address.
func (s *session) trusted() bool {
	if s.local {
		return true
	}
	for _, p := range s.srv.opts.TrustedNetworks {
		if p.Contains(s.ip) {
			return true
		}
	}
	return false
}

// pause waits, but not beyond the end of the server. It reports whether the time has passed.
func (s *session) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	evicted := s.conn.pause()
	defer s.conn.resume()
	select {
	case <-timer.C:
		return true
	case <-evicted:
	case <-s.srv.stopping:
	case <-s.ctx.Done():
	}
	return false
}
