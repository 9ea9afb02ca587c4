package imapd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
)

// dovecot starts Dovecot's own imap process, logged in, over a Maildir with the given
// messages, and with lines of configuration more.
func dovecot(t *testing.T, messages []string, more ...string) *imapPipe {
	t.Helper()
	doveadm, err := exec.LookPath("doveadm")
	if err != nil || os.Getuid() != 0 || testing.Short() {
		t.Skip("needs Dovecot and root")
	}
	dir, err := os.MkdirTemp("", "imapd-live") // t.TempDir is below a directory of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conf := fmt.Sprintf("base_dir=%[1]s/run\nstate_dir=%[1]s/run\nlog_path=%[1]s/log\nssl=no\nmail_location=maildir:%[1]s/mail\n"+
		"mail_uid=mail\nmail_gid=mail\nfirst_valid_uid=1\nfirst_valid_gid=1\nnamespace inbox {\n inbox=yes\n separator=/\n}\n", dir) + strings.Join(more, "\n")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(dir+"/conf", []byte(conf), 0o644))
	for _, d := range []string{"new", "cur", "tmp"} {
		must(os.MkdirAll(dir+"/mail/"+d, 0o755))
	}
	for i, m := range messages {
		name := fmt.Sprintf("%s/mail/cur/%d.M%dP1.host:2,", dir, 1700000000+i, i)
		must(os.WriteFile(name, []byte(m), 0o644))
		must(os.Chtimes(name, time.Time{}, addedAt)) // INTERNALDATE
	}
	if out, err := exec.Command("chown", "-R", "mail:mail", dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %s", out)
	}
	must(os.Chmod(dir, 0o755))
	cmd := exec.Command(doveadm, "-c", dir+"/conf", "exec", "imap")
	if len(more) > 0 { // doveadm hands its own settings on, without those of one protocol
		cmd = exec.Command("/usr/lib/dovecot/imap", "-c", dir+"/conf")
	}
	cmd.Env = append(os.Environ(), "USER=mail", "HOME="+dir)
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	cmd.Stderr = os.Stderr
	must(cmd.Start())
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		in.Close()
		cmd.Wait()
	})
	p := &imapPipe{t, in, bufio.NewReader(out)}
	p.response()
	return p
}

// An imapPipe is a conversation in whole responses, literals included.
type imapPipe struct {
	t testing.TB
	w io.Writer
	r *bufio.Reader
}

var literalEnd = regexp.MustCompile(`\{([0-9]+)\}\r\n$`)

func (p *imapPipe) response() string {
	p.t.Helper()
	all := ""
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("reading: %v after %q", err, all+line)
		}
		all += line
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return all
		}
		n, _ := strconv.Atoi(m[1])
		b := make([]byte, n)
		if _, err := io.ReadFull(p.r, b); err != nil {
			p.t.Fatal(err)
		}
		all += string(b)
	}
}

// command returns the untagged responses of a command and the kind of its end.
func (p *imapPipe) command(line string) (untagged []string, kind string) {
	p.t.Helper()
	if _, err := io.WriteString(p.w, "t "+line+"\r\n"); err != nil {
		p.t.Fatal(err)
	}
	for {
		r := p.response()
		if rest, ok := strings.CutPrefix(r, "t "); ok {
			kind, _, _ = strings.Cut(rest, " ")
			return untagged, kind
		}
		untagged = append(untagged, r)
	}
}

// TestDovecot gives Dovecot and this server the same messages and commands, and
// compares what they say.
func TestDovecot(t *testing.T) {
	paths, err := filepath.Glob("../testdata/vectors/messages/*.eml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	var messages []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		// Dovecot would transform what looks encrypted or compressed.
		if len(b) > 0 && len(b) < 300_000 && !dcrypt.IsEncrypted(b) && compress.Detect(b) == "" {
			messages = append(messages, string(b))
		}
	}
	messages = append(messages, simple, multipart)
	theirs := dovecot(t, messages)
	f := newFixture(t)
	for _, m := range messages {
		f.add("INBOX", m)
	}
	c := f.login()
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	ours := &imapPipe{t, c.nc, c.r}
	for _, p := range []*imapPipe{ours, theirs} {
		if _, kind := p.command("EXAMINE INBOX"); kind != "OK" {
			t.Fatal(kind)
		}
	}
	for _, cmd := range liveCommands {
		bad := 0
		got, gotKind := ours.command(cmd)
		want, wantKind := theirs.command(cmd)
		if gotKind != wantKind {
			t.Errorf("%s: %s, Dovecot %s", cmd, gotKind, wantKind)
		}
		// Dovecot says more, for example what a search found out about flags.
		want = slices.DeleteFunc(want, func(r string) bool { return strings.HasPrefix(r, "* OK ") })
		for i := range max(len(got), len(want)) {
			g, w := "nothing", "nothing"
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = want[i]
			}
			if g != w && bad < 3 {
				bad++
				t.Errorf("%s:\n got %.600q\nwant %.600q", cmd, g, w)
			}
		}
	}
}

var liveCommands = []string{
	"FETCH 1:* RFC822.SIZE",
	"FETCH 1:* BODY.PEEK[]",
	"FETCH 1:* (UID BODY.PEEK[HEADER])",
	"FETCH 1:* BODY.PEEK[TEXT]",
	"FETCH 1:* ENVELOPE",
	"FETCH 1:* BODY",
	"FETCH 1:* BODYSTRUCTURE",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS (subject From X-None)]",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (Subject from)]",
	"FETCH 1:* BODY.PEEK[1]",
	"FETCH 1:* BODY.PEEK[1.MIME]",
	"FETCH 1:* BODY.PEEK[2.MIME]",
	"FETCH 1:* BODY.PEEK[2]<3.10>",
	"FETCH 1:* BODY.PEEK[1.1]",
	"FETCH 1:* BODY.PEEK[2.HEADER]",
	"FETCH 1:* BODY.PEEK[1.TEXT]",
	"FETCH 1:* BODY.PEEK[TEXT]<5.100>",
	"FETCH 1:* RFC822.HEADER",
	"FETCH 1:* BODY.PEEK[1.2.1.HEADER]",
	"FETCH 1:* BODY.PEEK[1]<1.9>",
	"FETCH 1:* (BODY.PEEK[1.HEADER] BODY.PEEK[2.TEXT])",
	"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (date)] BODY.PEEK[TEXT]<0.3>)",
	"FETCH 1:* BINARY.SIZE[1]",
	"FETCH 1:* BINARY.PEEK[1]",
	"FETCH 1:* BINARY.PEEK[2]<2.5>",
	"FETCH 1:* BINARY.SIZE[2]",
	"SEARCH SUBJECT hello",
	"SEARCH FROM ann",
	"SEARCH BODY line",
	"SEARCH TEXT line",
	"SEARCH TEXT \"content-type\"",
	"SEARCH BODY \"content-type\"",
	"SEARCH TEXT message",
	"SEARCH BODY message",
	"SEARCH BODY html",
	"SEARCH TO example",
	"SEARCH CC example",
	"SEARCH SUBJECT \"re: \"",
	"SEARCH HEADER Received by",
	"SEARCH HEADER content-type multipart",
	"SEARCH SMALLER 300",
	"SEARCH HEADER message-id \"\"",
	"SEARCH SENTSINCE 1-Jan-2023",
	"SEARCH SENTON 1-Mar-2023",
	"SEARCH LARGER 500",
	"SEARCH NOT BODY e",
	"SEARCH CHARSET UTF-8 BODY \"grüße\"",
	"SEARCH CHARSET UTF-8 SUBJECT \"ü\"",
	"SEARCH OR UNSEEN UID 5:*",
	"SEARCH RETURN (MIN MAX COUNT ALL) TEXT a",
	"FETCH 999999 UID",
	"UID FETCH 999999 UID",
	"FETCH 1 BODY[1.MIME.2]",
	"FETCH 1 (FOO)",
	"SEARCH FOO",
	"STORE 1 +FLAGS (\\Bogus)",
}
