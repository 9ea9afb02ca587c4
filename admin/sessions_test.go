package admin

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

type fakeSessions []Session

func (f fakeSessions) Sessions() []Session { return f }
func (f fakeSessions) Kick(_ context.Context, fn func(Session) bool) []Session {
	return slices.DeleteFunc(slices.Clone(f), func(s Session) bool { return !fn(s) })
}

func TestWhoAndKick(t *testing.T) {
	l := &Local{Build: "b", Daemon: true, Started: time.Unix(99, 0), Sessions: fakeSessions{
		{ID: 1, Service: "imap", User: "alice@example.org", Remote: "192.0.2.7", Since: time.Unix(7, 0).UTC()},
		{ID: 2, Service: "imap", User: "bob", Remote: "2001:db8::1"},
		{ID: 3, Service: "imap", Remote: "unix"},
	}}
	_, path := serve(t, l)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct {
		r    WhoRequest
		want []uint64
		err  error
	}{
		{WhoRequest{}, []uint64{1, 2, 3}, nil},
		{WhoRequest{User: "*"}, []uint64{1, 2, 3}, nil},
		{WhoRequest{User: "*@example.org"}, []uint64{1}, nil},
		{WhoRequest{User: "alice"}, nil, nil},
		{WhoRequest{Remote: "192.0.2.0/24"}, []uint64{1}, nil},
		{WhoRequest{Remote: "2001:db8::1"}, []uint64{2}, nil},
		{WhoRequest{IDs: []uint64{3, 9}}, []uint64{3}, nil},
		{WhoRequest{IDs: []uint64{1, 2}, User: "bob"}, []uint64{2}, nil},
		{WhoRequest{Remote: "here"}, nil, ErrUsage},
	} {
		who, err := c.Who(ctx, tt.r)
		kick, kickErr := c.Kick(ctx, KickRequest(tt.r))
		if tt.r.User == "" && tt.r.Remote == "" && tt.r.IDs == nil {
			if !errors.Is(kickErr, ErrUsage) {
				t.Errorf("everybody is kicked by an empty request: %v", kickErr)
			}
			kick, kickErr = who, err
		}
		for _, got := range []struct {
			r   WhoResult
			err error
		}{{who, err}, {kick, kickErr}} {
			var ids []uint64
			for _, s := range got.r.Sessions {
				ids = append(ids, s.ID)
			}
			if !errors.Is(got.err, tt.err) || !slices.Equal(ids, tt.want) {
				t.Errorf("%+v: %v, %v, want %v, %v", tt.r, ids, got.err, tt.want, tt.err)
			}
		}
	}
	if s, err := c.Status(ctx); err != nil || s.Sessions != 3 || s.Started != 99 || s.Protocol != Version {
		t.Errorf("%+v, %v", s, err)
	}
	for _, err := range []error{func() error { _, err := (&Local{}).Who(ctx, WhoRequest{}); return err }(),
		func() error { _, err := (&Local{}).Kick(ctx, KickRequest{User: "*"}); return err }()} {
		if !errors.Is(err, ErrNoDaemon) {
			t.Errorf("without a daemon: %v", err)
		}
	}
}

// A longService reports progress until it is canceled.
type longService struct {
	Service
	ended chan error
}

func (s *longService) Check(ctx context.Context, r CheckRequest) (CheckResult, error) {
	report := ctx.Value(progressKey{}).(func(Progress))
	for n := int64(1); ctx.Err() == nil; n++ {
		report(Progress{What: "reading headers", Place: r.User, Done: n})
		time.Sleep(time.Millisecond)
	}
	s.ended <- ctx.Err()
	return CheckResult{Scan: Scan{Folders: 7}}, classify(ctx.Err())
}

func (s *longService) Status(context.Context) (Status, error) { return Status{PID: 5}, nil }

// TestProgressAndCancel follows a long operation, cancels it, and goes on with the connection;
// then goes away in the middle of another.
func TestProgressAndCancel(t *testing.T) {
	s := &longService{ended: make(chan error, 1)}
	_, path := serve(t, s)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		cctx, cancel := context.WithCancel(ctx)
		seen := int64(0)
		r, err := c.Check(WithProgress(cctx, func(p Progress) {
			if p.Done != seen+1 || p.Place != "alice" {
				t.Errorf("after %d: %+v", seen, p)
			}
			if seen = p.Done; seen == 5 {
				cancel()
			}
		}), CheckRequest{User: "alice"})
		cancel()
		if !errors.Is(err, ErrCanceled) || r.Scan.Folders != 7 || seen < 5 {
			t.Fatalf("%+v, %v after %d reports", r, err, seen)
		}
		<-s.ended
		if st, err := c.Status(ctx); err != nil || st.PID != 5 {
			t.Fatalf("the next request: %+v, %v", st, err)
		}
		if _, err := c.Status(cctx); !errors.Is(err, ErrCanceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
	go c.Check(WithProgress(ctx, func(Progress) { c.c.Close() }), CheckRequest{})
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client went away: %v", err)
	}
}
