package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// save delivers a message to alice's INBOX.
func (w *world) save(text string, flags ...string) {
	w.t.Helper()
	u, err := w.users.Lookup(ctx, "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.Accounts.Deliver(ctx, u)
	if err != nil {
		w.t.Fatal(err)
	}
	defer d.Close()
	a, err := d.Append(ctx, "INBOX", mailbox.SaveInfo{Received: time.Unix(1e9, 0), Flags: mailbox.ParseFlags(flags)})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(a, text); err != nil {
		w.t.Fatal(err)
	}
	if _, err := a.Commit(); err != nil {
		w.t.Fatal(err)
	}
}

// client serves alice's administration on a socket, with a log.
func (w *world) client() (*Client, *syncBuffer) {
	w.t.Helper()
	log := &syncBuffer{}
	path := filepath.Join(w.t.TempDir(), SocketName)
	srv, err := Listen(path, w.Local, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { srv.Close() })
	c, err := Dial(ctx, path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c, log
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// storedFile is the file of alice's message of a number, in the order of their names.
func (w *world) storedFile(n int) string {
	w.t.Helper()
	files, err := filepath.Glob(w.dir + "/alice/Maildir/[nc]*/*.*")
	if err != nil || len(files) < n {
		w.t.Fatalf("%d files, %v", len(files), err)
	}
	var list []string
	for _, dir := range []string{"cur", "new"} {
		for _, f := range files {
			if filepath.Base(filepath.Dir(f)) == dir {
				list = append(list, f)
			}
		}
	}
	return list[n-1]
}

const canary = "Subject: canary-kiwi\nFrom: a@example.org\n\nbody\n\nmore\n"

func TestFetch(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		w.save(canary, `\Flagged`, "work")
		crlf := strings.ReplaceAll(canary, "\n", "\r\n")
		c, log := w.client()
		for _, tt := range []struct {
			name string
			r    FetchRequest
			want string
			err  error
		}{
			{"all", FetchRequest{UID: 2, Secrets: []Password{loginPassword("old")}}, canary, nil},
			{"all, by its name", FetchRequest{UID: 2, Part: PartText, Secrets: []Password{raw("old")}}, canary, nil},
			{"the right secret is the second", FetchRequest{UID: 2, Secrets: []Password{raw("no"), raw("old")}}, canary, nil},
			{"mailbox in lower case", FetchRequest{Mailbox: "inbox", UID: 2, Secrets: []Password{raw("old")}}, canary, nil},
			{"with CRLF", FetchRequest{UID: 2, CRLF: true, Secrets: []Password{raw("old")}}, crlf, nil},
			{"header", FetchRequest{UID: 2, Part: PartHeader, Secrets: []Password{raw("old")}}, canary[:strings.Index(canary, "body")], nil},
			{"body", FetchRequest{UID: 2, Part: PartBody, CRLF: true, Secrets: []Password{raw("old")}}, "body\r\n\r\nmore\r\n", nil},
			{"verify", FetchRequest{UID: 2, Part: PartVerify, Secrets: []Password{raw("old")}}, "", nil},
			{"what needs no secret", FetchRequest{UID: 2, Part: PartNone}, "", nil},
			{"verify without a secret", FetchRequest{UID: 2, Part: PartVerify}, "", ErrNeedPassword},
			{"no secret", FetchRequest{UID: 2}, "", ErrNeedPassword},
			{"wrong secret", FetchRequest{UID: 2, Secrets: []Password{raw("no")}}, "", ErrPassword},
			{"no such part", FetchRequest{UID: 2, Part: "html"}, "", ErrUsage},
			{"no such message", FetchRequest{UID: 3, Part: PartNone}, "", ErrNoMessage},
			{"no UID", FetchRequest{}, "", ErrNoMessage},
			{"no such mailbox", FetchRequest{Mailbox: "Sent", UID: 2}, "", ErrNoMailbox},
			{"no mailbox's name", FetchRequest{Mailbox: "../x\x00", UID: 2}, "", ErrNoMailbox},
			{"no mailbox at all", FetchRequest{Mailbox: " ", UID: 2}, "", ErrNoMailbox},
			{"no such user", FetchRequest{User: "carol", UID: 2}, "", ErrNoUser},
			{"not a key", FetchRequest{UID: 2, Secrets: []Password{{Key: []byte("x")}}}, "", ErrUsage},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if tt.r.User == "" {
					tt.r.User = "alice"
				}
				if tt.r.Mailbox == "" {
					tt.r.Mailbox = "INBOX"
				}
				for name, s := range map[string]Service{"here": w.Local, "over the socket": c} {
					var out bytes.Buffer
					r, err := s.Fetch(ctx, tt.r, &out)
					if !errors.Is(err, tt.err) || out.String() != tt.want || r.Bytes != int64(len(tt.want)) {
						t.Errorf("%s: %v, %q, %d bytes; want %v, %q", name, err, out.String(), r.Bytes, tt.err, tt.want)
					}
					if err == nil {
						wantDescribed(t, r, tt.r.Part != PartNone)
					}
				}
			})
		}
		if text := log.String(); !strings.Contains(text, "a message is given out") || !strings.Contains(text, "uid=2") ||
			!strings.Contains(text, "kinds=password") || !strings.Contains(text, fmt.Sprintf("by_uid=%d", os.Geteuid())) {
			t.Errorf("the log: %s", text)
		}
		for _, word := range []string{"kiwi", "old", "b2xk"} {
			if strings.Contains(log.String(), word) {
				t.Errorf("%q is in the log: %s", word, log)
			}
		}
	})
}

// wantDescribed checks what is told of the message.
func wantDescribed(t *testing.T, r FetchResult, opened bool) {
	t.Helper()
	lines := int64(strings.Count(canary, "\n"))
	switch {
	case r.User != "alice" || r.Mailbox != "INBOX" || r.Seq != 2 || r.UID != 2 || len(r.MailboxGUID) != 32 || r.UIDValidity == 0 || r.GUID == "":
	case r.Physical == nil || *r.Physical != int64(len(canary)) || r.Virtual == nil || *r.Virtual != *r.Physical+lines || r.Stored <= *r.Physical:
	case r.Received.Unix() != 1e9 || r.Saved.Before(r.Received) || strings.Join(r.Flags, " ") != `\Flagged work`:
	case r.Encryption == nil || r.Encryption.Version != 2 || r.Encryption.Cipher != "aes-256-gcm" || len(r.Encryption.Keys) != 1:
	case r.Verified != opened || r.Problem != "":
	default:
		return
	}
	t.Errorf("%+v", r)
}

// TestFetchChangesNothing compares all files from before and after.
func TestFetchChangesNothing(t *testing.T) {
	w := newWorld(t, "file:~/dovecot-attributes")
	var out bytes.Buffer
	r := FetchRequest{User: "alice", Mailbox: "INBOX", UID: 1, Secrets: []Password{raw("old")}}
	if _, err := w.Fetch(ctx, r, &out); err != nil { // the first look moves new mail to cur
		t.Fatal(err)
	}
	before := files(t, w.dir)
	if _, err := w.Fetch(ctx, r, &out); err != nil {
		t.Fatal(err)
	}
	if after := files(t, w.dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// files lists names and contents below a directory, but for caches.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(p, "index") {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %d %x\n", p, len(text), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFetchOfTrouble asks for messages that cannot be read: nothing of them is given out.
func TestFetchOfTrouble(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		text := "Subject: kiwi\n\n" + strings.Repeat("a line of the body\n", 20_000)
		w.save(text)
		path := w.storedFile(2)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := w.client()
		want := func(name string, kind error) {
			t.Helper()
			for _, s := range []Service{w.Local, c} {
				var out bytes.Buffer
				_, err := s.Fetch(ctx, FetchRequest{User: "alice", Mailbox: "INBOX", UID: 2, Secrets: []Password{raw("old")}}, &out)
				if !errors.Is(err, kind) || out.Len() > 0 {
					t.Errorf("%s: %v and %d bytes, want %v", name, err, out.Len(), kind)
				}
			}
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]func([]byte) []byte{
			"last byte": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"in the middle": func(b []byte) []byte {
				b[len(b)/2] ^= 1
				return b
			},
			"cut":         func(b []byte) []byte { return b[:len(b)/2] },
			"only header": func(b []byte) []byte { return b[:40] },
		} {
			if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			want(name, ErrUnreadable)
		}
		r, err := c.Fetch(ctx, FetchRequest{User: "alice", Mailbox: "INBOX", UID: 2, Part: PartNone}, io.Discard)
		if err != nil || r.GUID == "" {
			t.Errorf("what is known of a damaged message: %+v, %v", r, err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		w.wipe()
		want("no keys", ErrNoKey)
	})
}

// TestFetchLarge gives out more than a line of the protocol may have, through a small window.
func TestFetchLarge(t *testing.T) {
	w := newWorld(t, dicts[0])
	text := "Subject: large\n\n" + strings.Repeat("forty-nine bytes of text without anything in it.\n", 100_000)
	w.save(text)
	c, _ := w.client()
	r := FetchRequest{User: "alice", Mailbox: "INBOX", UID: 2, Secrets: []Password{raw("old")}}
	most := 0
	var out bytes.Buffer
	result, err := c.Fetch(ctx, r, writerFunc(func(p []byte) (int, error) {
		most = max(most, len(p))
		return out.Write(p)
	}))
	if err != nil || out.String() != text || result.Bytes != int64(len(text)) {
		t.Errorf("%d bytes of %d, %v", out.Len(), len(text), err)
	}
	if most > pieceSize {
		t.Errorf("a piece of %d bytes", most)
	}
	disk := errors.New("no room for it")
	n := 0
	_, err = c.Fetch(ctx, r, writerFunc(func(p []byte) (int, error) {
		if n++; n == 3 {
			return 0, disk
		}
		return len(p), nil
	}))
	if !errors.Is(err, disk) || n != 3 {
		t.Errorf("a writer that fails: %v after %d pieces", err, n)
	}
	cctx, cancel := context.WithCancel(ctx)
	_, err = c.Fetch(cctx, r, writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}))
	// It may have been sent whole before the cancel came.
	if err != nil && !errors.Is(err, ErrCanceled) {
		t.Errorf("canceled: %v", err)
	}
	out.Reset()
	if _, err := c.Fetch(ctx, r, &out); err != nil || out.String() != text {
		t.Errorf("on the same connection: %d bytes, %v", out.Len(), err)
	}
}

// TestFetchUnread leaves the text unread: a cancel and the end of the server still come through.
func TestFetchUnread(t *testing.T) {
	w := newWorld(t, dicts[0])
	w.save("Subject: large\n\n" + strings.Repeat("x\n", 2<<20))
	path := filepath.Join(t.TempDir(), SocketName)
	srv, err := Listen(path, w.Local, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		args, err := json.Marshal(FetchRequest{User: "alice", Mailbox: "INBOX", UID: 2, Secrets: []Password{raw("old")}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, `{"do":"Fetch","version":%d,"args":%s}`+"\n", Version, args)
		first := make([]byte, 1000)
		if _, err := io.ReadFull(c, first); err != nil || !bytes.Contains(first, []byte(`{"piece":`)) {
			t.Fatalf("%q, %v", first, err)
		}
		return c
	}
	c := ask()
	fmt.Fprintln(c, `{"cancel":true}`)
	lines := bufio.NewReaderSize(c, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("after a cancel: %v", err)
		}
		if strings.Contains(line, `"canceled"`) {
			break
		}
		if strings.HasPrefix(line, `{"result"`) {
			t.Fatalf("the end: %s", line)
		}
	}
	c.Close()
	gone := ask()
	gone.Close() // the server notices
	ask()        // never read: Close does not wait for it
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}
