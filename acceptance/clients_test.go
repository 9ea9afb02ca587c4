package acceptance

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClients runs a round trip with each mail client that is installed: one by name with
//
//	go test ./acceptance -run TestClients/alpine
//
// Each has a daemon of its own with an encrypted user, over TLS, and is judged by what it
// wrote and by what another connection sees.
func TestClients(t *testing.T) {
	for _, c := range []struct {
		name     string
		programs []string // all must be there
		version  []string // prints the version
		test     func(*testing.T, *box)
	}{
		{"alpine", []string{"alpine", "tmux"}, []string{"alpine", "-v"}, testAlpine},
		{"curl", []string{"curl"}, []string{"curl", "--version"}, testCurl},
		{"fetchmail", []string{"fetchmail"}, []string{"fetchmail", "--version"}, testFetchmail},
		{"getmail", []string{"getmail"}, []string{"getmail", "--version"}, testGetmail},
		{"imapclient", nil, nil, testImapclient},
		{"imapfilter", []string{"imapfilter"}, []string{"imapfilter", "-V"}, testImapfilter},
		{"imapflow", []string{"node", "npm"}, []string{"node", "--version"}, testImapflow},
		{"imaplib", []string{"python3"}, []string{"python3", "--version"}, testImaplib},
		{"mbsync", []string{"mbsync"}, []string{"mbsync", "--version"}, testMbsync},
		{"neomutt", []string{"neomutt", "tmux"}, []string{"neomutt", "-v"}, testNeomutt},
		{"offlineimap", []string{"offlineimap"}, []string{"offlineimap", "--version"}, testOfflineimap},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range c.programs {
				need(t, p)
			}
			t.Parallel() // most of a client's time is spent waiting
			if c.version != nil {
				out, _ := exec.Command(c.version[0], c.version[1:]...).Output()
				if len(out) == 0 {
					out, _ = exec.Command(c.version[0], c.version[1:]...).CombinedOutput()
				}
				first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
				t.Log(c.version[0], first)
			}
			c.test(t, newBox(t))
		})
	}
}

// need finds a client, or skips.
func need(t *testing.T, program string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return p
}

// A box is an encrypted user's mail on a daemon, for a client to work on.
type box struct {
	t    *testing.T
	d    *daemon
	c    *imapConn // a second connection
	tmp  string    // the client's home
	as   *syscall.SysProcAttr
	cert string // the CA that it is to trust
	port int    // of TLS, on localhost
}

// umlaut is a folder whose name is not ASCII, and how modified UTF-7 spells it.
const (
	umlaut     = "Entwürfe & Pläne"
	umlautUTF7 = "Entw&APw-rfe &- Pl&AOQ-ne"
)

// boxMail is what is in the INBOX of a box, by subject.
var boxMail = []boxMessage{
	{"message 0", mail("message 0", 2000)},
	{"message 1", mail("message 1", 2000)},
	{"eight bits", eightBitMail("eight bits")},
	{"parts", partsMail("parts")},
	{"big", mail("big", 2<<20)},
}

type boxMessage struct {
	subject string
	message []byte
}

func newBox(t *testing.T) *box {
	t.Helper()
	d := setup{
		dir: scratch(t), users: "u:{PLAIN}secret::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n",
		rest:  "[zlib]\nsave = \"zstd\"\n",
	}.start(t)
	b := &box{t: t, d: d, tmp: scratch(t), as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, port: port(d.imaps)}
	cert, err := os.ReadFile(filepath.Join(d.dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.cert = b.file("ca.pem", "%s", cert)
	b.connect()
	for _, m := range boxMail {
		if a := b.c.appendMail("INBOX", "", m.message); !a.ok() {
			t.Fatal(a.tagged)
		}
	}
	for _, name := range []string{"Work", "Work.Sub", umlautUTF7} {
		if a := b.c.do("CREATE %s", quote(name)); !a.ok() {
			t.Fatal(a.tagged)
		}
		b.c.do("SUBSCRIBE %s", quote(name))
	}
	return b
}

func (b *box) connect() {
	b.t.Helper()
	b.c = login(b.t, b.d.imap, "u", "secret")
}

// restart ends the daemon as an administrator would, and starts it again.
func (b *box) restart() {
	b.t.Helper()
	b.d.stop(b.t)
	b.d.start(b.t)
	b.connect()
}

// file writes a file into the client's home.
func (b *box) file(name, format string, args ...any) string {
	b.t.Helper()
	path := filepath.Join(b.tmp, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// read is what the client wrote into a file.
func (b *box) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.tmp, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// exists reports whether the client has made a file.
func (b *box) exists(name string) bool {
	_, err := os.Stat(filepath.Join(b.tmp, name))
	return err == nil
}

// unprivileged makes the client run as nobody, where it would not run as root.
func (b *box) unprivileged() {
	b.t.Helper()
	if !isRoot() {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		b.t.Skip("runs as root only, and refuses that: ", err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	b.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := filepath.WalkDir(b.tmp, func(p string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, uid, gid))
	}); err != nil {
		b.t.Fatal(err)
	}
}

// command is the client, at home.
func (b *box) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = b.tmp
	cmd.Env = append(os.Environ(), "HOME="+b.tmp, "LC_ALL=C.UTF-8")
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = b.as
	return cmd
}

// run runs the client and wants it to end well.
func (b *box) run(args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 90*time.Second)
	defer cancel()
	out, err := b.command(ctx, args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, tail(string(out), 4000))
	}
	return string(out)
}

// background runs the client until the test ends.
func (b *box) background(args ...string) *exec.Cmd {
	b.t.Helper()
	cmd := b.command(context.Background(), args...)
	var out logBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if b.t.Failed() {
			b.t.Logf("%s said:\n%s", args[0], tail(out.String(), 3000))
		}
	})
	return cmd
}

// deliver has a message delivered by LMTP.
func (b *box) deliver(message []byte) {
	b.t.Helper()
	replies, err := deliverLMTP(b.d.lmtp, "a@example.org", []string{"u"}, message)
	if err != nil || !strings.HasPrefix(replies[0], "250") {
		b.t.Fatal(replies, err)
	}
}

// subjectOf reads the Subject line, as it stands.
func subjectOf(message []byte) string {
	header, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			return s
		}
	}
	return ""
}

// bySubject is what another connection sees in a mailbox.
func (b *box) bySubject(mailbox string) map[string]fetched {
	b.t.Helper()
	m := map[string]fetched{}
	for _, f := range b.c.fetchAll(mailbox) {
		m[subjectOf(f.body)] = f
	}
	return m
}

// has wants a mailbox to have these subjects and no others, and returns its messages.
func (b *box) has(mailbox string, subjects ...string) map[string]fetched {
	b.t.Helper()
	all := b.c.fetchAll(mailbox)
	m := map[string]fetched{}
	var got []string
	for _, f := range all {
		m[subjectOf(f.body)] = f
		got = append(got, subjectOf(f.body))
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(subjects))
	if !slices.Equal(got, want) {
		b.t.Fatalf("%s has %q, want %q", mailbox, got, want)
	}
	return m
}

// flags wants a message to carry these flags, \Recent aside.
func (b *box) flags(mailbox, subject string, flags ...string) {
	b.t.Helper()
	f, ok := b.bySubject(mailbox)[subject]
	if !ok || !sameFlags(f.flags, flags) {
		b.t.Errorf("%q in %s has flags %q, want %q", subject, mailbox, f.flags, flags)
	}
}

// until polls for something that a client does in the background.
func (b *box) until(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	b.t.Fatalf("waited in vain for %s", what)
}

// told delivers messages until the client, which waits in IDLE, has done something; one
// might come before it waits.
func (b *box) told(what string, done func() bool) {
	b.t.Helper()
	n, next := 0, time.Now()
	b.until(what, func() bool {
		if done() {
			return true
		}
		if time.Now().After(next) {
			n++
			b.deliver(mail(fmt.Sprintf("news %d", n), 600))
			next = time.Now().Add(2 * time.Second)
		}
		return false
	})
}

// lf is a message as Unix programs keep it.
func lf(message []byte) string { return strings.ReplaceAll(string(message), "\r\n", "\n") }

// eightBitMail has a body of two charsets at once, which no program may "repair".
func eightBitMail(subject string) []byte {
	return []byte("From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: b@example.org\r\nSubject: " + subject +
		"\r\nDate: Mon, 6 Jul 2026 10:00:00 +0200\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@example.org>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"Grüße, schöne Öfen, 日本\r\nlatin-1: \xfc\xe4\xdf\r\n\tlast line\r\n")
}

// partsMail has HTML beside text, and an attachment.
func partsMail(subject string) []byte {
	return []byte("From: a@example.org\r\nTo: b@example.org\r\nSubject: " + subject +
		"\r\nDate: Tue, 7 Jul 2026 10:00:00 +0200\r\nMessage-ID: <parts@example.org>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n" +
		"--x\r\nContent-Type: multipart/alternative; boundary=\"y\"\r\n\r\n" +
		"--y\r\nContent-Type: text/plain\r\n\r\nplain words\r\n" +
		"--y\r\nContent-Type: text/html\r\n\r\n<p>words of <b>HTML</b></p>\r\n--y--\r\n\r\n" +
		"--x\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=\"a.bin\"\r\n\r\n" +
		base64.StdEncoding.EncodeToString(attachment) + "\r\n--x--\r\n")
}

// attachment is every byte once.
var attachment = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()
