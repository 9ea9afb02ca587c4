package lmtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/quota"
)

// fakeUsers keeps what is delivered in memory. The local part says what goes wrong:
// "nobody" does not exist, "deferred" cannot be opened, and so on.
type fakeUsers struct {
	mu      sync.Mutex
	saved   map[string][]string // user, messages
	open    int                 // recipients and appenders not closed
	commits chan struct{}       // if set, each Commit waits for one
}

type fakeRecipient struct {
	users *fakeUsers
	user  string
}

type fakeAppender struct {
	*fakeRecipient
	text bytes.Buffer
	done bool
}

func (u *fakeUsers) count(delta int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open += delta
}

func (u *fakeUsers) Deliver(_ context.Context, address string) (Recipient, error) {
	user, _, _ := strings.Cut(address, "@")
	switch user {
	case "nobody":
		return nil, fmt.Errorf("fake: %q: %w", address, ErrNoUser)
	case "deferred":
		return nil, errors.New("fake: no keys")
	case "panics":
		panic("fake")
	}
	u.count(+1)
	return &fakeRecipient{u, user}, nil
}

func (r *fakeRecipient) User() string { return r.user }

func (r *fakeRecipient) Close() error {
	r.users.count(-1)
	return nil
}

func (r *fakeRecipient) Fits(_ context.Context, folder string, size int64) error {
	switch {
	case r.user == "full" && size != 1:
		return &quota.Error{Text: "Quota exceeded (mailbox for user is full)"}
	case r.user == "fullfornow" && size > 100:
		return &quota.Error{Text: "Later.", Temporary: true}
	}
	return nil
}

func (r *fakeRecipient) Append(_ context.Context, folder string, _ mailbox.SaveInfo) (Appender, error) {
	if folder != "INBOX" {
		return nil, errors.New("fake: wrong folder")
	}
	switch r.user {
	case "noappend":
		return nil, errors.New("fake: disk full")
	case "toolarge":
		return nil, fmt.Errorf("fake: %w", mailbox.ErrTooLarge)
	case "appendpanics":
		panic("fake")
	}
	r.users.count(+1)
	return &fakeAppender{fakeRecipient: r}, nil
}

func (a *fakeAppender) Write(p []byte) (int, error) {
	switch {
	case a.user == "nowrite" && a.text.Len() > 100:
		return 0, errors.New("fake: disk full")
	case a.user == "writepanics" && a.text.Len() > 100:
		panic("fake")
	}
	return a.text.Write(p)
}

func (a *fakeAppender) Commit() (mailbox.UID, error) {
	if a.users.commits != nil {
		<-a.users.commits
	}
	switch a.user {
	case "nocommit":
		return 0, errors.New("fake: sync failed")
	case "full", "fullfornow":
		return 0, fmt.Errorf("fake: %w", &quota.Error{Text: "No room.", Temporary: a.user == "fullfornow"})
	case "commitpanics":
		panic("fake")
	}
	a.done = true
	a.users.mu.Lock()
	defer a.users.mu.Unlock()
	a.users.saved[a.user] = append(a.users.saved[a.user], a.text.String())
	a.users.open--
	return 1, nil
}

func (a *fakeAppender) Abort() error {
	if !a.done {
		a.done = true
		a.users.count(-1)
	}
	return nil
}

func (u *fakeUsers) messages(user string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.saved[user]
}

// total is the number of messages saved for anybody.
func (u *fakeUsers) total() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range u.saved {
		n += len(m)
	}
	return n
}

// body returns what stands after the trace fields of a saved message.
func body(t *testing.T, message string) string {
	t.Helper()
	for _, start := range []string{"Return-Path: <", "Delivered-To: ", "Received: from "} {
		if !strings.HasPrefix(message, start) {
			t.Fatalf("saved message has %.40q, want %q", message, start)
		}
		message = message[strings.Index(message, "\r\n")+2:]
	}
	for strings.HasPrefix(message, "\t") {
		message = message[strings.Index(message, "\r\n")+2:]
	}
	return message
}

// A client speaks to a server under test.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// serve runs a server on a TCP or Unix socket and checks at the end that nothing was
// left open.
func serve(t *testing.T, network string, o Options) (*Server, *fakeUsers, func() *client) {
	t.Helper()
	users := &fakeUsers{saved: map[string][]string{}}
	if o.Users == nil {
		o.Users = users
	} else {
		users = o.Users.(*fakeUsers)
	}
	if o.Hostname == "" {
		o.Hostname = "mx.example"
	}
	s := NewServer(o)
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "lmtp")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v, want %v", err, ErrServerClosed)
		}
		users.mu.Lock()
		defer users.mu.Unlock()
		if users.open != 0 {
			t.Errorf("%d recipients or appenders were not closed", users.open)
		}
	})
	return s, users, func() *client {
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return &client{t, c, bufio.NewReader(c)}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// reply reads one reply, all of its lines.
func (c *client) reply() string {
	c.t.Helper()
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("reading a reply: %v", err)
		}
		all.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			return all.String()
		}
	}
}

// want reads one reply and checks how it begins.
func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply %q, want %q", got, prefix)
	}
	return got
}

// do sends a command and checks the reply.
func (c *client) do(command, prefix string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.want(prefix)
}

// closed checks that the server ends the connection.
func (c *client) closed() {
	c.t.Helper()
	if line, err := c.r.ReadString('\n'); err == nil {
		c.t.Fatalf("got %q, want the end of the connection", line)
	}
}

// ready goes to where DATA may come.
func (c *client) ready(recipients ...string) *client {
	c.t.Helper()
	c.want("220 ")
	c.do("LHLO client.example", "250-mx.example\r\n")
	c.mail(recipients...)
	return c
}

func (c *client) mail(recipients ...string) {
	c.t.Helper()
	c.do("MAIL FROM:<sender@example.com>", "250 2.1.0")
	for _, r := range recipients {
		c.do("RCPT TO:<"+r+">", "250 2.1.5")
	}
}
