package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// need finds a client, or skips.
func need(t *testing.T, program string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return p
}

// run runs a client and wants it to end well.
func run(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "HOME="+dir), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, tail(string(out), 4000))
	}
	return string(out)
}

// clientServer is a daemon with an encrypted user and three messages, for clients to work on.
func clientServer(t *testing.T) (*daemon, *imapConn) {
	t.Helper()
	dir := scratch(t)
	d := setup{
		dir: dir, users: "u:{PLAIN}secret::::::mail_crypt_save_version=2\n",
		crypt: "curve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1000\n",
		rest:  "[zlib]\nsave = \"zstd\"\n",
	}.start(t)
	c := login(t, d.imap, "u", "secret")
	for i := range 3 {
		if a := c.appendMail("INBOX", "", mail(fmt.Sprint("message ", i), 2000)); !a.ok() {
			t.Fatal(a.tagged)
		}
	}
	c.do("CREATE Work")
	return d, c
}

func wantCount(t *testing.T, c *imapConn, mailbox string, n int) map[int]fetched {
	t.Helper()
	got := c.fetchAll(mailbox)
	if len(got) != n {
		t.Fatalf("%s has %d messages, want %d", mailbox, len(got), n)
	}
	return got
}

func TestCurl(t *testing.T) {
	curl := need(t, "curl")
	d, c := clientServer(t)
	base := func(path string) []string {
		return []string{curl, "-sS", "--cacert", filepath.Join(d.dir, "cert.pem"), "-u", "u:secret", "imaps://" + strings.Replace(d.imaps, "127.0.0.1", "localhost", 1) + path}
	}
	tmp := t.TempDir()
	if out := run(t, tmp, nil, base("/")...); !strings.Contains(out, "INBOX") || !strings.Contains(out, "Work") {
		t.Errorf("list: %s", out)
	}
	if out := run(t, tmp, nil, base("/INBOX;MAILINDEX=2")...); out != string(mail("message 1", 2000)) {
		t.Errorf("fetch: %d bytes", len(out))
	}
	file := filepath.Join(tmp, "new.eml")
	os.WriteFile(file, mail("by curl", 4000), 0o600)
	run(t, tmp, nil, append(base("/Work"), "-T", file)...)
	if got := wantCount(t, c, "Work", 1); sha(got[1].body) != sha(mail("by curl", 4000)) {
		t.Error("what curl appended is not what is there")
	}
	run(t, tmp, nil, append(base("/INBOX"), "-X", `STORE 1 +FLAGS (\Deleted \Seen)`)...)
	run(t, tmp, nil, append(base("/INBOX"), "-X", `MOVE 2 Work`)...)
	run(t, tmp, nil, append(base("/INBOX"), "-X", `EXPUNGE`)...)
	wantCount(t, c, "INBOX", 1)
	wantCount(t, c, "Work", 2)
	starttls := []string{curl, "-sS", "--ssl-reqd", "--cacert", filepath.Join(d.dir, "cert.pem"), "-u", "u:secret", "imap://" + strings.Replace(d.imap, "127.0.0.1", "localhost", 1) + "/INBOX;MAILINDEX=1"}
	if out := run(t, tmp, nil, starttls...); out != string(mail("message 2", 2000)) {
		t.Errorf("fetch over STARTTLS: %d bytes", len(out))
	}
}

func TestMbsync(t *testing.T) {
	mbsync := need(t, "mbsync")
	d, c := clientServer(t)
	tmp := t.TempDir()
	rc := filepath.Join(tmp, "rc")
	os.MkdirAll(filepath.Join(tmp, "mail"), 0o700)
	os.WriteFile(rc, fmt.Appendf(nil, `IMAPAccount a
Host localhost
Port %d
User u
Pass secret
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account a

MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
`, port(d.imaps), filepath.Join(d.dir, "cert.pem"), tmp, tmp), 0o600)
	sync := func() { t.Helper(); run(t, tmp, nil, mbsync, "-q", "-c", rc, "c") }
	sync()
	files, _ := filepath.Glob(tmp + "/mail/INBOX/*/*")
	if len(files) != 3 {
		t.Fatalf("mbsync fetched %d messages, want 3", len(files))
	}
	// A new message, a flag, a move and a removal on the client's side.
	os.WriteFile(tmp+"/mail/INBOX/new/1700000000.1_1.x", []byte(strings.ReplaceAll(string(mail("by mbsync", 3000)), "\r\n", "\n")), 0o600)
	os.Rename(files[0], strings.TrimSuffix(strings.Replace(files[0], "/new/", "/cur/", 1), ":2,")+":2,FS")
	os.MkdirAll(tmp+"/mail/Work/cur", 0o700)
	os.MkdirAll(tmp+"/mail/Work/new", 0o700)
	os.MkdirAll(tmp+"/mail/Work/tmp", 0o700)
	os.Rename(files[1], tmp+"/mail/Work/cur/1700000001.1_1.x:2,S")
	sync()
	got := wantCount(t, c, "INBOX", 3)
	flagged := 0
	for _, f := range got {
		if sameFlags(f.flags, []string{`\Flagged`, `\Seen`}) {
			flagged++
		}
	}
	if flagged != 1 {
		t.Errorf("%d messages carry the flags that mbsync set", flagged)
	}
	wantCount(t, c, "Work", 1)
	sync()
	wantCount(t, c, "INBOX", 3)
}

func TestOfflineimap(t *testing.T) {
	offlineimap := need(t, "offlineimap")
	d, c := clientServer(t)
	tmp := t.TempDir()
	rc := filepath.Join(tmp, "rc")
	os.WriteFile(rc, fmt.Appendf(nil, `[general]
accounts = a
metadata = %[1]s/meta
ui = quiet
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %[1]s/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %[2]d
remoteuser = u
remotepass = secret
ssl = yes
sslcacertfile = %[3]s
auth_mechanisms = PLAIN
`, tmp, port(d.imaps), filepath.Join(d.dir, "cert.pem")), 0o600)
	sync := func() { t.Helper(); run(t, tmp, nil, offlineimap, "-c", rc, "-o") }
	sync()
	files, _ := filepath.Glob(tmp + "/mail/INBOX/*/*")
	if len(files) != 3 {
		t.Fatalf("offlineimap fetched %d messages, want 3", len(files))
	}
	os.WriteFile(tmp+"/mail/INBOX/new/1700000000.1_1.x", []byte(strings.ReplaceAll(string(mail("by offlineimap", 3000)), "\r\n", "\n")), 0o600)
	os.Remove(files[0])
	sync()
	got := wantCount(t, c, "INBOX", 3)
	found := false
	for _, f := range got {
		found = found || strings.Contains(string(f.body), "Subject: by offlineimap\r\n")
	}
	if !found {
		t.Error("what offlineimap uploaded is not there")
	}
	sync()
	wantCount(t, c, "INBOX", 3)
}

func TestNeomutt(t *testing.T) {
	neomutt := need(t, "neomutt")
	d, c := clientServer(t)
	tmp := t.TempDir()
	folder := fmt.Sprintf("imaps://localhost:%d/", port(d.imaps))
	rc := filepath.Join(tmp, "rc")
	os.WriteFile(rc, fmt.Appendf(nil, `set certificate_file = %[1]s
set ssl_ca_certificates_file = %[1]s
set folder = %[2]s
set imap_user = u
set imap_pass = secret
set spoolfile = "+INBOX"
set quit = yes
set confirmappend = no
set delete = yes
set mail_check = 0
set record = ""
set header_cache = ""
`, filepath.Join(d.dir, "cert.pem"), folder), 0o600)
	// Batch: commands are pushed before the mailbox is opened, and the last one quits.
	push := func(mailbox, keys string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		script := exec.CommandContext(ctx, "script", "-qec", fmt.Sprintf("%s -n -F %s -f %s%s -e 'push %s'", neomutt, rc, folder, mailbox, keys), "/dev/null")
		script.Env = append(os.Environ(), "HOME="+tmp, "TERM=xterm")
		in, err := script.StdinPipe() // stays open: an end of input would be a key
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if out, err := script.CombinedOutput(); err != nil {
			t.Fatalf("neomutt: %v\n%s", err, tail(string(out), 2000))
		}
	}
	need(t, "script")
	push("INBOX", "<first-entry><flag-message><next-entry><copy-message>=Work<enter><last-entry><delete-message><sync-mailbox><quit>")
	got := wantCount(t, c, "INBOX", 2)
	flagged := 0
	for _, f := range got {
		for _, flag := range f.flags {
			if flag == `\Flagged` {
				flagged++
			}
		}
	}
	if flagged != 1 {
		t.Errorf("%d messages are flagged, want 1", flagged)
	}
	wantCount(t, c, "Work", 1)
}

const imaplibScript = `
import imaplib, ssl, sys
port, cert = int(sys.argv[1]), sys.argv[2]
ctx = ssl.create_default_context(cafile=cert)
m = imaplib.IMAP4_SSL('localhost', port, ssl_context=ctx)
m.login('u', 'secret')
def ok(r):
    assert r[0] == 'OK', r
    return r[1]
names = ok(m.list())
assert any(b'Work' in n for n in names), names
ok(m.select('INBOX'))
assert ok(m.search(None, 'ALL'))[0].split() == [b'1', b'2', b'3']
assert ok(m.search(None, 'SUBJECT', '"message 1"'))[0].split() == [b'2']
data = ok(m.fetch('2', '(BODY.PEEK[] UID)'))[0][1]
assert b'Subject: message 1\r\n' in data, data[:200]
new = b'Subject: by imaplib\r\n\r\nhello\r\n'
ok(m.append('INBOX', r'(\Seen)', imaplib.Time2Internaldate(1700000000), new))
ok(m.noop())
uid = ok(m.uid('search', None, 'SUBJECT', '"by imaplib"'))[0]
assert ok(m.uid('fetch', uid, '(BODY.PEEK[] INTERNALDATE)'))[0][1] == new
ok(m.uid('store', uid, '+FLAGS', r'(\Flagged $Work)'))
ok(m.uid('copy', uid, 'Work'))
ok(m.uid('move', '1', 'Work'))
ok(m.store('1', '+FLAGS', r'\Deleted'))
ok(m.expunge())
assert ok(m.status('Work', '(MESSAGES)'))[0].endswith(b'(MESSAGES 2)')
ok(m.close())
m.logout()
m = imaplib.IMAP4('localhost', int(sys.argv[3]))
m.starttls(ctx)
m.login('u', 'secret')
assert ok(m.select('INBOX', readonly=True))[0] == b'2'
m.logout()
`

func TestPythonImaplib(t *testing.T) {
	python := need(t, "python3")
	d, c := clientServer(t)
	run(t, t.TempDir(), nil, python, "-c", imaplibScript, fmt.Sprint(port(d.imaps)), filepath.Join(d.dir, "cert.pem"), fmt.Sprint(port(d.imap)))
	wantCount(t, c, "Work", 2)
	wantCount(t, c, "INBOX", 2)
}
