package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/metadata"
	"mailcrypt/quota"
	"mailcrypt/sealedcache"
	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

// fakeUser is an account over a hierarchy in memory. All logins share it.
type fakeUser struct {
	*storagetest.Memory
	alert   string
	limit   int64
	special map[string]string
	quota   *quotaState

	annotations *metadata.Store
	over        bool // the quota is exceeded by more than 100 octets

	mu         sync.Mutex
	unreadable map[mailbox.UID]error      // of every mailbox
	learned    map[recall][]byte          // nil keeps nothing
	failRead   map[mailbox.UID]bool       // reading fails after the message was opened
	opened     int                        // messages opened
	octets     int64                      // of messages, read
	reading    func()                     // called where a message is opened
	copying    func(context.Context)      // called at the start of a copy
	faults     func(storagetest.Op) error // of the mailboxes opened from here on
	noModSeqs  atomic.Pointer[error]      // why modseqs cannot be stored
	forgetful  atomic.Bool                // which messages were expunged is not known
	aborted    int
	committed  int
}

func newFakeUser() *fakeUser {
	return &fakeUser{Memory: storagetest.NewMemory('/'), special: map[string]string{},
		unreadable: map[mailbox.UID]error{}, failRead: map[mailbox.UID]bool{}, learned: map[recall][]byte{}}
}

func (u *fakeUser) User() string                  { return "alice" }
func (u *fakeUser) Alert() string                 { return u.alert }
func (u *fakeUser) AppendLimit() int64            { return u.limit }
func (u *fakeUser) SpecialUse() map[string]string { return u.special }

func (u *fakeUser) HasMetadata() bool { return u.annotations != nil }

func (u *fakeUser) MetadataLimits() metadata.Limits {
	if u.annotations == nil {
		return metadata.New(nil, metadata.Limits{}).Limits()
	}
	return u.annotations.Limits()
}

func (u *fakeUser) Metadata(ctx context.Context, name string, entries []metadata.Entry, depth int) ([]metadata.Value, error) {
	scope, err := u.scope(ctx, name)
	if err != nil {
		return nil, err
	}
	return u.annotations.Get(ctx, scope, entries, depth)
}

func (u *fakeUser) SetMetadata(ctx context.Context, name string, values []metadata.Value) error {
	scope, err := u.scope(ctx, name)
	if err != nil {
		return err
	}
	return u.annotations.Set(ctx, scope, values)
}

func (u *fakeUser) scope(ctx context.Context, name string) (metadata.Scope, error) {
	if name == "" {
		guid, err := u.Memory.GUID(ctx, "INBOX")
		return metadata.Server(guid), err
	}
	guid, err := u.Memory.GUID(ctx, name)
	return metadata.Mailbox(guid), err
}

func (u *fakeUser) Quota(context.Context) (*quotaState, error) { return u.quota, nil }

func (u *fakeUser) Open(ctx context.Context, name string, readOnly bool) (box, error) {
	b, err := u.Memory.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	if u.faults != nil {
		b = &storagetest.Faulty{Backend: b, Fail: u.faults}
	}
	u.mu.Unlock()
	return &fakeBox{b, storage.New(b), u, name, readOnly}, nil
}

func (u *fakeUser) Rename(ctx context.Context, from, to string) error {
	return u.Memory.Rename(ctx, from, to)
}

type fakeBox struct {
	storage.Backend
	store    *storage.Store
	user     *fakeUser
	name     string
	readOnly bool
}

func (b *fakeBox) Name() string   { return b.name }
func (b *fakeBox) ReadOnly() bool { return b.readOnly }

func (b *fakeBox) SyncModSeqs(ctx context.Context) error {
	if err := b.user.noModSeqs.Load(); err != nil {
		return *err
	}
	return b.Backend.SyncModSeqs(ctx)
}

func (b *fakeBox) Expunged(ctx context.Context, since mailbox.ModSeq) ([]mailbox.UID, bool, error) {
	if b.user.forgetful.Load() {
		return nil, false, nil
	}
	return b.Backend.Expunged(ctx, since)
}

// A recall is a place in a cache that seals nothing.
type recall struct {
	guid  mailbox.GUID
	field sealedcache.Field
	uid   mailbox.UID
}

func (b *fakeBox) Recall(dst []byte, f sealedcache.Field, uid mailbox.UID) ([]byte, bool) {
	b.user.mu.Lock()
	defer b.user.mu.Unlock()
	v, ok := b.user.learned[recall{b.GUID(), f, uid}]
	return append(dst, v...), ok
}

func (b *fakeBox) Learn(msg content, f sealedcache.Field, value []byte) {
	m, ok := msg.(countingContent)
	if !ok {
		return
	}
	b.user.mu.Lock()
	defer b.user.mu.Unlock()
	if b.user.learned != nil {
		b.user.learned[recall{b.GUID(), f, m.content.(*storage.Message).UID()}] = bytes.Clone(value)
	}
}

func (b *fakeBox) Read(ctx context.Context, uid mailbox.UID) (content, error) {
	b.user.mu.Lock()
	err := b.user.unreadable[uid]
	fail := b.user.failRead[uid]
	b.user.opened++
	b.user.mu.Unlock()
	if b.user.reading != nil {
		b.user.reading()
	}
	if err != nil {
		return nil, &storage.ReadError{UID: uid, Kind: storage.NoKey, Err: err}
	}
	m, err := b.store.Open(ctx, uid, nil)
	if err != nil {
		return nil, err
	}
	if fail {
		return failingContent{m}, nil
	}
	return countingContent{m, b.user}, nil
}

// countingContent counts what is read of a message.
type countingContent struct {
	content
	user *fakeUser
}

func (c countingContent) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.content.ReadAt(p, off)
	c.user.mu.Lock()
	c.user.octets += int64(n)
	c.user.mu.Unlock()
	return n, err
}

type failingContent struct{ content }

func (failingContent) Memory() []byte { return nil }

func (c failingContent) ReadAt(p []byte, off int64) (int, error) {
	if off > 100 {
		return 0, &storage.ReadError{Kind: storage.IO, Err: io.ErrUnexpectedEOF}
	}
	if int64(len(p)) > 101-off {
		n, _ := c.content.ReadAt(p[:101-off], off)
		return n, &storage.ReadError{Kind: storage.IO, Err: io.ErrUnexpectedEOF}
	}
	return c.content.ReadAt(p, off)
}

func (b *fakeBox) SizeOf(ctx context.Context, uid mailbox.UID) (int64, error) {
	m, err := b.Read(ctx, uid)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return m.Size(), nil
}

func (b *fakeBox) Append(ctx context.Context, info mailbox.SaveInfo) (appender, error) {
	if b.user.over && info.Announced > 100 {
		return nil, &quota.Error{Text: "Quota exceeded (mailbox for user is full)"}
	}
	a, err := b.store.Append(ctx, info, nil, storage.Options{})
	if err != nil {
		return nil, err
	}
	return &fakeAppender{a, b.user}, nil
}

type fakeAppender struct {
	*storage.Appender
	user *fakeUser
}

func (b *fakeBox) CommitAll(ctx context.Context, messages []appender) ([]mailbox.UID, error) {
	stored := make([]*storage.Appender, len(messages))
	for i, a := range messages {
		stored[i] = a.(*fakeAppender).Appender
	}
	b.user.mu.Lock()
	b.user.committed += len(stored)
	over := b.user.over
	b.user.mu.Unlock()
	for _, a := range stored {
		if over && a.Sizes().Virtual > 50 {
			return nil, &quota.Error{Text: "No room."}
		}
	}
	return b.store.CommitAll(ctx, stored)
}

// commit saves one message.
func (b *fakeBox) commit(a appender) (mailbox.UID, error) {
	uids, err := b.CommitAll(context.Background(), []appender{a})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

func (a *fakeAppender) Abort() error {
	a.user.mu.Lock()
	a.user.aborted++
	a.user.mu.Unlock()
	return a.Appender.Abort()
}

func (b *fakeBox) Copy(ctx context.Context, uids []mailbox.UID, to string) (r copied, err error) {
	if b.user.over {
		return r, &quota.Error{Text: "No room."}
	}
	target, err := b.user.Open(ctx, to, false)
	if err != nil {
		return r, err
	}
	if b.user.copying != nil {
		b.user.copying(ctx)
	}
	for _, uid := range uids {
		if b.View().Get(uid) == nil {
			return copied{}, errors.Join(mailbox.ErrExpunged, target.Expunge(ctx, r.to))
		}
		m, err := b.Read(ctx, uid)
		if err != nil {
			return r, err
		}
		info, err := b.Stat(ctx, uid)
		if err != nil {
			return r, err
		}
		a, err := target.Append(ctx, mailbox.SaveInfo{Received: info.Received, Flags: info.Flags, NeedUID: true})
		if err != nil {
			return r, err
		}
		io.Copy(a, io.NewSectionReader(m, 0, m.Size()))
		n, err := target.(*fakeBox).commit(a)
		if err != nil {
			return r, err
		}
		r.from, r.to = append(r.from, uid), append(r.to, n)
	}
	r.uidValidity = target.View().UIDValidity
	return r, nil
}

func (b *fakeBox) Move(ctx context.Context, uids []mailbox.UID, to string) (copied, error) {
	view := b.View()
	here := slices.DeleteFunc(slices.Clone(uids), func(uid mailbox.UID) bool { return view.Get(uid) == nil })
	r, err := b.Copy(ctx, here, to)
	if err != nil {
		return r, err
	}
	return r, b.Expunge(ctx, r.from)
}

// fakeMetrics counts.
type fakeMetrics struct {
	mu                               sync.Mutex
	open, good, failed, panics, lost int
	compressed, handshakes, delayed  int
	refused                          []string
}

func (m *fakeMetrics) add(n *int, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n += by
}
func (m *fakeMetrics) Connection(delta int) { m.add(&m.open, delta) }
func (m *fakeMetrics) Login(ok bool) {
	if ok {
		m.add(&m.good, 1)
	} else {
		m.add(&m.failed, 1)
	}
}
func (m *fakeMetrics) Command(string, string, time.Duration) {}
func (m *fakeMetrics) Unreadable(string)                     { m.add(&m.lost, 1) }
func (m *fakeMetrics) LoginDelay(time.Duration)              { m.add(&m.delayed, 1) }
func (m *fakeMetrics) Refused(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, reason)
}
func (m *fakeMetrics) Compressed(delta int) { m.add(&m.compressed, delta) }
func (m *fakeMetrics) TLS(string)           { m.add(&m.handshakes, 1) }
func (m *fakeMetrics) Panic()               { m.add(&m.panics, 1) }

// fixture is a server with one user, alice, whose password is "secret".
type fixture struct {
	t       testing.TB
	user    *fakeUser
	srv     *Server
	addr    string
	metrics *fakeMetrics
	opts    Options
	log     bytes.Buffer
}

func newFixture(t testing.TB, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, user: newFakeUser(), metrics: &fakeMetrics{}}
	f.opts = Options{Metrics: f.metrics}
	f.opts.Timeouts.AuthDelay, f.opts.MaxDelay = time.Millisecond, -1
	for _, c := range change {
		c(&f.opts)
	}
	f.srv = newServer(f.opts, f.authenticate)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	go f.srv.Serve(l, false)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := f.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if f.metrics.panics > 0 {
			t.Errorf("%d panics", f.metrics.panics)
		}
		if f.metrics.open != 0 {
			t.Errorf("%d connections still open", f.metrics.open)
		}
	})
	return f
}

// newFixtureQuiet is a fixture that listens nowhere, with two messages.
func newFixtureQuiet(t testing.TB) *fixture {
	f := &fixture{t: t, user: newFakeUser(), metrics: &fakeMetrics{}}
	f.opts = Options{Metrics: f.metrics, Logger: slog.New(slog.NewTextHandler(&f.log, nil))}
	f.opts.Timeouts.AuthDelay, f.opts.MaxDelay = time.Nanosecond, -1
	f.srv = newServer(f.opts, f.authenticate)
	f.add("INBOX", simple)
	f.add("INBOX", multipart)
	return f
}

func (f *fixture) authenticate(_ context.Context, user string, password []byte, _ net.Addr) (login, error) {
	switch {
	case user == "later":
		return nil, fmt.Errorf("dict: %w", errTemporary)
	case user != "alice" || string(password) != "secret":
		return nil, fmt.Errorf("%w: no", errAuth)
	}
	return f.user, nil
}

// addedAt is the INTERNALDATE of all that add saves.
var addedAt = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// add saves a message and returns its UID.
func (f *fixture) add(name, text string, flags ...string) mailbox.UID {
	f.t.Helper()
	ctx := context.Background()
	b, err := f.user.Open(ctx, name, false)
	if err != nil {
		f.t.Fatal(err)
	}
	a, err := b.Append(ctx, mailbox.SaveInfo{NeedUID: true, Flags: mailbox.ParseFlags(flags),
		Received: addedAt})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := io.WriteString(a, text); err != nil {
		f.t.Fatal(err)
	}
	uid, err := b.(*fakeBox).commit(a)
	if err != nil {
		f.t.Fatal(err)
	}
	return uid
}

// A client is the other end, a line at a time.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func (f *fixture) dial() *client {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &client{f.t, nc, bufio.NewReader(nc)}
}

// login dials and logs in.
func (f *fixture) login() *client {
	f.t.Helper()
	c := f.dial()
	c.line()
	c.send("l LOGIN alice secret")
	c.until("l ")
	return c
}

// selected dials, logs in and selects a mailbox.
func (f *fixture) selected(name string) *client {
	f.t.Helper()
	c := f.login()
	c.send("s SELECT " + name)
	if got := c.until("s "); !strings.HasPrefix(got[len(got)-1], "s OK ") {
		f.t.Fatalf("SELECT: %q", got)
	}
	return c
}

func (c *client) send(line string) { c.raw(line + "\r\n") }

func (c *client) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading: %v (after %q)", err, s)
	}
	return strings.TrimSuffix(s, "\r\n")
}

// until reads lines up to one with the prefix.
func (c *client) until(prefix string) []string {
	c.t.Helper()
	var lines []string
	for {
		l := c.line()
		lines = append(lines, l)
		if strings.HasPrefix(l, prefix) {
			return lines
		}
	}
}

// eof reports whether the server closed.
func (c *client) eof() bool {
	_, err := c.r.ReadByte()
	return err != nil
}

func (c *client) startTLS(config *tls.Config) {
	t := tls.Client(c.nc, config)
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.nc, c.r = t, bufio.NewReader(t)
}

// script plays a session. A line "C: x" is sent, "S: x" is expected word for word, and
// "S~ x" is a regular expression; "S* x" skips lines up to one that begins with x.
func (c *client) script(script string) {
	c.t.Helper()
	for n, step := range strings.Split(strings.TrimSpace(script), "\n") {
		step = strings.TrimLeft(step, "\t")
		if len(step) < 3 {
			c.t.Fatalf("step %d: %q", n+1, step)
		}
		arg := strings.TrimPrefix(step[2:], " ")
		switch step[:2] {
		case "C:":
			c.send(arg)
		case "S:":
			if got := c.line(); got != arg {
				c.t.Fatalf("step %d:\n got %q\nwant %q", n+1, got, arg)
			}
		case "S~":
			if got := c.line(); !regexp.MustCompile("^(?:" + arg + ")$").MatchString(got) {
				c.t.Fatalf("step %d:\n got %q\nwant match of %q", n+1, got, arg)
			}
		case "S*":
			c.until(arg)
		default:
			c.t.Fatalf("step %d: %q", n+1, step)
		}
	}
}
