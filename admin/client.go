package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds an answer: the list of the keys of a user with as many folders as there
// may be.
const maxAnswer = 512 << 20

const (
	// helloTimeout is how long a daemon may take to greet: it does so from a goroutine of its
	// own, whatever else it does.
	helloTimeout = 10 * time.Second
	// maxSilence is how long a daemon may say nothing during a request: it says every
	// aliveEvery that it is at work.
	maxSilence = 6 * aliveEvery
)

// A Client is a Service in another process. It carries one request at a time. A context
// that ends cancels the request, and the answer then says how far it has come.
type Client struct {
	mu  sync.Mutex
	c   net.Conn
	in  *bufio.Reader
	out *json.Encoder
}

// Dial connects to a daemon. The error wraps ErrNoDaemon where there is none.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s", ErrNoDaemon, path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: the admin socket %s lets in root and the owner of the mail", ErrPermission, path)
	case err != nil:
		return nil, fmt.Errorf("admin: %w", err)
	}
	cl := &Client{c: c, in: bufio.NewReader(c), out: json.NewEncoder(c)}
	if err := cl.greeted(path); err != nil {
		c.Close()
		return nil, err
	}
	return cl, nil
}

// greeted reads the line with which a daemon begins.
func (c *Client) greeted(path string) error {
	c.c.SetReadDeadline(time.Now().Add(helloTimeout))
	hello, err := readLine(c.in, 200)
	c.c.SetReadDeadline(time.Time{})
	var version int
	_, scanErr := fmt.Sscanf(hello, "mailcryptd-admin %d\n", &version)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: it takes connections on %s and says nothing", ErrSilent, path)
	case hello == "" && err != nil:
		return fmt.Errorf("%w: the daemon hung up before a word on %s: it is ending, or does not let this user in; do it again in a moment, as root", ErrTemporary, path)
	case err != nil || scanErr != nil:
		return fmt.Errorf("%w: what answers on %s is no mailcryptd of today; restart it: systemctl restart mailcryptd", ErrVersion, path)
	case version < Version:
		return fmt.Errorf("%w: the daemon on %s speaks %d, which is older than this program's %d; restart it: systemctl restart mailcryptd", ErrVersion, path, version, Version)
	case version > Version:
		return fmt.Errorf("%w: the daemon on %s speaks %d, which is newer than this program's %d; use the doveadm-crypt of its release", ErrVersion, path, version, Version)
	}
	return nil
}

var errTooLong = errors.New("admin: the line is too long")

// readLine reads a line of at most limit octets.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", errTooLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

func remote[R any](ctx context.Context, c *Client, do string, args any) (R, error) {
	return exchange[R](ctx, c, do, args, nil)
}

// exchange asks the daemon and waits for its answer. piece takes the text that comes before
// it; nil where none may come.
func exchange[R any](ctx context.Context, c *Client, do string, args any, piece func([]byte)) (R, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var result R
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("%w: %w", ErrCanceled, err)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return result, err
	}
	defer clear(raw)
	c.c.SetWriteDeadline(time.Now().Add(maxSilence))
	switch err := c.out.Encode(request{Do: do, Version: Version, Args: raw}); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return result, fmt.Errorf("%w: it does not take the request", ErrSilent)
	case err != nil:
		return result, fmt.Errorf("%w: %w", ErrTemporary, errGone)
	}
	sent := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(sent)
		_ = json.NewEncoder(c.c).Encode(request{Cancel: true})
	})
	defer func() {
		if !stop() {
			<-sent // or it would cancel the next request
		}
	}()
	for {
		resp, err := c.next()
		switch {
		case err != nil:
			return result, err
		case resp.Alive:
			continue
		case resp.Progress != nil:
			if fn, ok := ctx.Value(progressKey{}).(func(Progress)); ok {
				fn(*resp.Progress)
			}
			continue
		case resp.Piece != nil && piece != nil:
			piece(resp.Piece)
			clear(resp.Piece)
			continue
		case resp.Result == nil && resp.Error == nil:
			return result, errAnswer
		}
		if resp.Result != nil {
			if err := json.Unmarshal(resp.Result, &result); err != nil {
				return result, errAnswer
			}
		}
		if resp.Error != nil {
			return result, resp.Error
		}
		return result, nil
	}
}

// errGone reports a connection that ended in the middle of a request.
var errGone = errors.New("the daemon went away, and may have done it or not; look, and do it again")

// errAnswer reports an answer that no daemon of this version gives.
var errAnswer = fmt.Errorf("%w: the daemon's answer makes no sense to this program; restart it: systemctl restart mailcryptd", ErrVersion)

func (c *Client) next() (resp response, err error) {
	c.c.SetReadDeadline(time.Now().Add(maxSilence))
	line, err := readLine(c.in, maxAnswer)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return resp, fmt.Errorf("%w for %v, and may have done what it was asked for, or not", ErrSilent, maxSilence)
	case errors.Is(err, errTooLong):
		return resp, errAnswer
	case err != nil:
		return resp, fmt.Errorf("%w: %w", ErrTemporary, errGone)
	}
	if err := json.Unmarshal([]byte(line), &resp); err != nil {
		return resp, errAnswer
	}
	return resp, nil
}

// Reseal implements Service.
func (c *Client) Reseal(ctx context.Context, r ResealRequest) (ResealResult, error) {
	return remote[ResealResult](ctx, c, "Reseal", r)
}

// EndReseal implements Service.
func (c *Client) EndReseal(ctx context.Context, r EndResealRequest) (ResealResult, error) {
	return remote[ResealResult](ctx, c, "EndReseal", r)
}

// UndoReseal implements Service.
func (c *Client) UndoReseal(ctx context.Context, r UndoResealRequest) (ResealResult, error) {
	return remote[ResealResult](ctx, c, "UndoReseal", r)
}

// SetPassword implements Service.
func (c *Client) SetPassword(ctx context.Context, r SetPasswordRequest) (ResealResult, error) {
	return remote[ResealResult](ctx, c, "SetPassword", r)
}

// Generate implements Service.
func (c *Client) Generate(ctx context.Context, r GenerateRequest) (GenerateResult, error) {
	return remote[GenerateResult](ctx, c, "Generate", r)
}

// Rewrap implements Service.
func (c *Client) Rewrap(ctx context.Context, r RewrapRequest) (RewrapResult, error) {
	return remote[RewrapResult](ctx, c, "Rewrap", r)
}

// List implements Service.
func (c *Client) List(ctx context.Context, r ListRequest) (ListResult, error) {
	return remote[ListResult](ctx, c, "List", r)
}

// Export implements Service.
func (c *Client) Export(ctx context.Context, r ExportRequest) (ExportResult, error) {
	return remote[ExportResult](ctx, c, "Export", r)
}

// Import implements Service.
func (c *Client) Import(ctx context.Context, r ImportRequest) (ImportResult, error) {
	return remote[ImportResult](ctx, c, "Import", r)
}

// Retire implements Service.
func (c *Client) Retire(ctx context.Context, r RetireRequest) (RetireResult, error) {
	return remote[RetireResult](ctx, c, "Retire", r)
}

// Check implements Service.
func (c *Client) Check(ctx context.Context, r CheckRequest) (CheckResult, error) {
	return remote[CheckResult](ctx, c, "Check", r)
}

// Purge implements Service.
func (c *Client) Purge(ctx context.Context, r PurgeRequest) (MoveResult, error) {
	return remote[MoveResult](ctx, c, "Purge", r)
}

// AltMove implements Service.
func (c *Client) AltMove(ctx context.Context, r AltMoveRequest) (MoveResult, error) {
	return remote[MoveResult](ctx, c, "AltMove", r)
}

// StoreStat implements Service.
func (c *Client) StoreStat(ctx context.Context, r StoreStatRequest) (StoreStatResult, error) {
	return remote[StoreStatResult](ctx, c, "StoreStat", r)
}

// Resync implements Service.
func (c *Client) Resync(ctx context.Context, r ResyncRequest) (ResyncResult, error) {
	return remote[ResyncResult](ctx, c, "Resync", r)
}

// ImportStore implements Service.
func (c *Client) ImportStore(ctx context.Context, r ImportStoreRequest) (HandoverResult, error) {
	return remote[HandoverResult](ctx, c, "ImportStore", r)
}

// ExportStore implements Service.
func (c *Client) ExportStore(ctx context.Context, r ExportStoreRequest) (HandoverResult, error) {
	return remote[HandoverResult](ctx, c, "ExportStore", r)
}

// ListUsers implements Service.
func (c *Client) ListUsers(ctx context.Context, r ListUsersRequest) (ListUsersResult, error) {
	return remote[ListUsersResult](ctx, c, "ListUsers", r)
}

// Who implements Service.
func (c *Client) Who(ctx context.Context, r WhoRequest) (WhoResult, error) {
	return remote[WhoResult](ctx, c, "Who", r)
}

// Kick implements Service.
func (c *Client) Kick(ctx context.Context, r KickRequest) (WhoResult, error) {
	return remote[WhoResult](ctx, c, "Kick", r)
}

// Status implements Service.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return remote[Status](ctx, c, "Status", struct{}{})
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }
