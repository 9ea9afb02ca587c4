package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/admin"
)

// TestFetchVectors fetches every message of every recorded Maildir store through the admin
// socket: what Dovecot has stored comes out, and nothing of what is damaged or has no key.
func TestFetchVectors(t *testing.T) {
	for _, v := range loadVectors(t, func(v *vector) bool { return !v.WrongKeys }) {
		t.Run(v.Case, func(t *testing.T) {
			d := v.serve(t)
			c := d.dialAdmin(t)
			for _, u := range v.Users {
				var secrets []admin.Password
				if p := u.UserDB["mail_crypt_private_password"]; p != "" {
					secrets = []admin.Password{{Secret: []byte(p)}}
				}
				for _, m := range u.Mailboxes {
					if strings.HasPrefix(m.Name, "shared.") {
						continue
					}
					for _, want := range m.Messages {
						fetchVector(t, c, v, admin.FetchRequest{User: u.Name, Mailbox: m.Name, UID: uint32(want.UID), CRLF: true, Secrets: secrets}, want)
					}
				}
			}
		})
	}
}

func fetchVector(t *testing.T, c *admin.Client, v *vector, r admin.FetchRequest, want vectorMessage) {
	t.Helper()
	where := fmt.Sprintf("%s %s %d (%s)", r.User, r.Mailbox, r.UID, want.Damage)
	var out bytes.Buffer
	result, err := c.Fetch(context.Background(), r, &out)
	if !v.Damaged {
		// In the recorded answers of IMAP a NUL is 0x80, as in all of Dovecot's.
		text := bytes.ReplaceAll(out.Bytes(), []byte{0}, []byte{0x80})
		if err != nil || sha(text) != want.SHA256 || *result.Virtual != int64(want.Size) {
			t.Errorf("%s: %d bytes, %v", where, out.Len(), err)
		}
		return
	}
	intact := err == nil && sha(out.Bytes()) == cond(want.OriginalSHA, want.SHA256)
	switch {
	case want.Integrity == "readable-with-the-keys-present" || want.Integrity == "intact":
		if !intact {
			t.Errorf("%s: %v", where, err)
		}
	case want.Integrity == "must-fail" && err == nil, want.Integrity == "unspecified" && err == nil && !intact:
		t.Errorf("%s was given out: %d bytes", where, out.Len())
	case err != nil && out.Len() > 0:
		t.Errorf("%s: %d bytes before %v", where, out.Len(), err)
	case err != nil && !errors.Is(err, admin.ErrUnreadable) && !errors.Is(err, admin.ErrNoKey) && !errors.Is(err, admin.ErrPassword) && !errors.Is(err, admin.ErrNeedPassword):
		t.Errorf("%s: %v", where, err)
	}
	if none, err := c.Fetch(context.Background(), withPart(r, admin.PartNone), io.Discard); err != nil || none.GUID == "" {
		t.Errorf("%s: what needs no key: %+v, %v", where, none, err)
	}
}

func withPart(r admin.FetchRequest, part string) admin.FetchRequest {
	r.Part = part
	return r
}

// fetchUsers is one user for both servers.
const fetchUsers = "u:{PLAIN}pass::::::mail_crypt_save_version=2 mail_crypt_private_password=sesame\n"

// TestFetchAsDoveadm compares what the command prints with what real doveadm prints of the
// same messages, with the daemon and without it.
func TestFetchAsDoveadm(t *testing.T) {
	dir := scratch(t)
	d := setup{
		dir: dir, users: fetchUsers, top: "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: "curve = \"prime256v1\"\nseal_rounds = 2048\n",
	}.start(t)
	login(t, d.imap, "u", "pass").close()
	dove := dovecotSetup{homes: dir, users: "u:{PLAIN}pass::::::userdb_mail_crypt_private_password=sesame\n",
		plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\n"}.start(t)
	c := login(t, dove.imap, "u", "pass")
	c.do("CREATE Work.Old")
	for i, text := range []string{
		string(mail("plain", 3000)),
		"Subject: no body\r\n\r\n",
		"Subject: no empty line\r\n",
		"Subject: late\r\n folded\r\n\r\n\r\n\r\nbody\r\n.\r\n\r\n",
		"no header\r\n\r\nbody without an end",
		"Subject: K\xc3\xa4se \x1b[2J\r\n\r\n\x00\x01\xff\r\n",
	} {
		if a := c.appendMail("Work.Old", `(\Flagged work)`, []byte(strings.ReplaceAll(text, "\x00", "?"))); !a.ok() {
			t.Fatalf("message %d: %s", i, a.tagged)
		}
	}
	c.close()
	fields := "user mailbox mailbox-guid seq uid guid flags size.physical size.virtual date.received date.saved date.received.unixtime date.saved.unixtime"
	compare := func() {
		t.Helper()
		for uid := 1; uid <= 6; uid++ {
			query := []string{"fetch", "-u", "u"}
			of := []string{"mailbox", "Work.Old", "uid", fmt.Sprint(uid)}
			for option, field := range map[string]string{"": "text", "--header": "hdr", "--body": "body"} {
				args := append(slices.Clone(query), "Work.Old", fmt.Sprint(uid), "--password-file", "-", "--raw")
				if option != "" {
					args = append(args, option)
				}
				is, status := d.tool(t, "sesame\n", args...)
				want := dove.adm(t, slices.Concat([]string{"-f", "flow", "fetch", "-u", "u", field}, of)...)
				want = strings.TrimSuffix(strings.TrimPrefix(want, field+"="), "\n")
				if status != 0 || is != want {
					t.Errorf("UID %d, %s: status %d\n%q\ndoveadm:\n%q", uid, field, status, is, want)
				}
			}
			for _, format := range []string{"pager", "flow", "tab", "json"} {
				is, status := d.tool(t, "", append(slices.Clone(query), "Work.Old", fmt.Sprint(uid), "--fields", fields, "--format", format)...)
				want := dove.adm(t, slices.Concat([]string{"-f", format, "fetch", "-u", "u", fields}, of)...)
				want = strings.NewReplacer(`\\Recent `, "", `\Recent `, "").Replace(want) // it is of sessions
				if status != 0 || strings.TrimSuffix(is, "\n") != strings.TrimSuffix(want, "\n") {
					t.Errorf("UID %d, %s: status %d\n%s\ndoveadm:\n%s", uid, format, status, is, want)
				}
			}
		}
	}
	compare()
	d.stop(t)
	compare()
}

// TestFetchLargeMemory gives out a message of 90 MiB and looks at the memory of both sides.
func TestFetchLargeMemory(t *testing.T) {
	const size = 90 << 20
	dir := scratch(t)
	d := setup{dir: dir, users: fetchUsers, crypt: "curve = \"prime256v1\"\nseal_rounds = 2048\n"}.start(t)
	login(t, d.imap, "u", "pass").close()
	m := mail("large", size)
	if replies, err := deliverLMTP(d.lmtp, "s@example.org", []string{"u"}, m); err != nil || !strings.HasPrefix(replies[0], "250") {
		t.Fatal(replies, err)
	}
	before := rss(t, d.cmd.Process.Pid, "VmHWM")
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), "-c", d.config, "fetch", "-u", "u", "INBOX", "1", "--crlf", "--body", "--raw")
	cmd.Stdin = strings.NewReader("sesame\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyN(io.Discard, out, size-1<<20)
	if err != nil {
		t.Error(err)
	}
	tool := rss(t, cmd.Process.Pid, "VmHWM") // it waits in the last write
	rest, err := io.Copy(io.Discard, out)
	if err != nil {
		t.Error(err)
	}
	n += rest
	if err := cmd.Wait(); err != nil || n < size/2 {
		t.Errorf("%d bytes came, %v", n, err)
	}
	after := rss(t, d.cmd.Process.Pid, "VmHWM")
	t.Logf("%d bytes; peak of the daemon from %d to %d MiB, of the tool %d MiB", n, before>>20, after>>20, tool>>20)
	if tool > 48<<20 {
		t.Errorf("the tool took %d MiB", tool>>20)
	}
	if after-before > 32<<20 {
		t.Errorf("the daemon's peak grew by %d MiB", (after-before)>>20)
	}
}
