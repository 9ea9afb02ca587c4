package admin

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
)

// Who implements Service.
func (l *Local) Who(_ context.Context, r WhoRequest) (WhoResult, error) {
	want, err := r.matcher()
	if err != nil {
		return WhoResult{}, err
	}
	if l.Sessions == nil {
		return WhoResult{}, fmt.Errorf("%w: only a running mailcryptd has sessions", ErrNoDaemon)
	}
	var result WhoResult
	for _, s := range l.Sessions.Sessions() {
		if want(s) {
			result.Sessions = append(result.Sessions, s)
		}
	}
	return result, nil
}

// Kick implements Service.
func (l *Local) Kick(ctx context.Context, r KickRequest) (WhoResult, error) {
	if r.User == "" && r.Remote == "" && len(r.IDs) == 0 {
		return WhoResult{}, fmt.Errorf("%w: say whom: a user, an address or a session", ErrUsage)
	}
	want, err := WhoRequest(r).matcher()
	if err != nil {
		return WhoResult{}, err
	}
	if l.Sessions == nil {
		return WhoResult{}, fmt.Errorf("%w: only a running mailcryptd has sessions", ErrNoDaemon)
	}
	return WhoResult{l.Sessions.Kick(ctx, want)}, nil
}

// matcher chooses sessions.
func (r WhoRequest) matcher() (func(Session) bool, error) {
	var network netip.Prefix
	if r.Remote != "" {
		if addr, err := netip.ParseAddr(r.Remote); err == nil {
			network = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		} else if network, err = netip.ParsePrefix(r.Remote); err != nil {
			return nil, fmt.Errorf("%w: %q is no address and no network", ErrUsage, r.Remote)
		}
	}
	return func(s Session) bool {
		if r.User != "" && !match(r.User, s.User, 0) || len(r.IDs) > 0 && !slices.Contains(r.IDs, s.ID) {
			return false
		}
		if r.Remote == "" {
			return true
		}
		addr, err := netip.ParseAddr(s.Remote)
		return err == nil && network.Contains(addr.Unmap())
	}, nil
}

// Status implements Service.
func (l *Local) Status(context.Context) (Status, error) {
	s := Status{PID: os.Getpid(), Version: l.Build, Daemon: l.Daemon, Protocol: Version}
	if !l.Started.IsZero() {
		s.Started = l.Started.Unix()
	}
	if l.Sessions != nil {
		s.Sessions = len(l.Sessions.Sessions())
	}
	return s, nil
}
