package acceptance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A form is one way to call `mailbox cryptokey` and what both programs say.
type form struct {
	args  string
	stdin string
	// differs says why ours answers otherwise, as docs/compatibility.md does; "" is the same answer.
	differs string
}

const sesame = "-o plugin/mail_crypt_private_password=sesame "

// doveadmForms are run one after another on both copies of one store. The users a and b have
// keys, c has none. The file ONE names a, FILE a and b.
var doveadmForms = []form{
	{args: "mailbox cryptokey list -u a -U"},
	{args: "mailbox cryptokey list -u a --user-key"},
	{args: "mailbox cryptokey list -u a *"},
	{args: "mailbox cryptokey list -u a INBOX"},
	{args: "mailbox cryptokey list -u a W%"},
	{args: "mailbox cryptokey list -u a -U INBOX"},
	{args: "mailbox cryptokey list -u a Nope"},
	{args: "mailbox cryptokey list -u a"},
	{args: "mailbox cryptokey list -u a INBOX Work"},
	{args: "mailbox cryptokey list -u a -R"},
	{args: "mailbox cryptokey list -u nobody -U"},
	{args: "mailbox cryptokey list -u c -U"},
	{args: "mailbox cryptokey list -F ONE -U", differs: nameless},
	{args: "mailbox cryptokey list -F NOFILE -U"},
	{args: "-f tab mailbox cryptokey list -F ONE *"},
	{args: "-f flow mailbox cryptokey list -F ONE *"},
	{args: "-f pager mailbox cryptokey list -F ONE -U"},
	{args: "-f json mailbox cryptokey list -F ONE -U"},
	{args: "-f flow mailbox cryptokey list -u a *"},
	{args: "-f pager mailbox cryptokey list -u a *"},
	{args: "-f json mailbox cryptokey list -u a *"},
	{args: "-f tab mailbox cryptokey list -u a *"},
	{args: "-f json mailbox cryptokey list -u a Nope"},
	{args: "-f tab mailbox cryptokey list -u a Nope"},
	{args: "-f flow mailbox cryptokey list -u a Nope"},
	{args: "-f pager mailbox cryptokey list -u a Nope"},
	{args: "-f nonsense mailbox cryptokey list -u a -U", differs: wrongUse},
	{args: "mailbox cryptokey list -A -U", differs: twice},
	{args: "mailbox cryptokey list -A *", differs: twice},
	{args: "mailbox cryptokey list -F FILE -U", differs: twice},
	{args: "mailbox cryptokey list -u * -U", differs: twice},
	{args: "-f tab mailbox cryptokey list -A *", differs: twice},
	{args: "-f flow mailbox cryptokey list -A -U", differs: twice},
	{args: "-f pager mailbox cryptokey list -A -U", differs: twice},
	{args: "-f json mailbox cryptokey list -A -U", differs: twice},

	{args: sesame + "mailbox cryptokey export -u a Nope"},
	{args: sesame + "-f json mailbox cryptokey export -u a Nope"},
	{args: sesame + "-f tab mailbox cryptokey export -u a Nope"},
	{args: sesame + "-f flow mailbox cryptokey export -u a Nope"},
	{args: sesame + "-f table mailbox cryptokey export -u a Nope"},
	{args: sesame + "mailbox cryptokey export -u a"},
	{args: sesame + "mailbox cryptokey export -u a INBOX Work"},
	{args: sesame + "mailbox cryptokey export -u a Work", differs: columns},
	{args: sesame + "mailbox cryptokey export -u a -U", differs: columns},
	{args: sesame + "-f tab mailbox cryptokey export -u a Work", differs: columns},
	{args: sesame + "-f json mailbox cryptokey export -u a Work", differs: columns},
	{args: "mailbox cryptokey export -u a Work", differs: "the exit status is 65, and the text says what is wrong"},

	{args: "mailbox cryptokey generate -u a INBOX"},
	{args: "mailbox cryptokey generate -u a *"},
	{args: sesame + "mailbox cryptokey generate -u a -U"},
	{args: "mailbox cryptokey generate -u a -U"},
	{args: "mailbox cryptokey generate -u a Nope"},
	{args: "mailbox cryptokey generate -u a"},
	{args: sesame + "mailbox cryptokey generate -u a -U -f"},
	{args: sesame + "mailbox cryptokey generate -u a -Uf INBOX"},
	{args: "mailbox cryptokey list -u a -U"},
	{args: "mailbox cryptokey generate -u a -f Work"},
	{args: "mailbox cryptokey generate -u a --force Work"},
	{args: "mailbox cryptokey generate -u a Empty"},
	{args: "-f json mailbox cryptokey generate -u a INBOX"},
	{args: "-f tab mailbox cryptokey generate -u a *"},
	{args: "-f pager mailbox cryptokey generate -u a *"},
	{args: "-f flow mailbox cryptokey generate -F ONE INBOX"},
	{args: sesame + "mailbox cryptokey generate -u a -R", differs: rewraps},
	{args: sesame + "mailbox cryptokey generate -u a -Rf", differs: rewraps},
	{args: sesame + "mailbox cryptokey generate -u a -UR", differs: rewraps},
	{args: "mailbox cryptokey generate -u a INBOX Work"},
	{args: "mailbox cryptokey generate -u nobody -U"},
	{args: "mailbox cryptokey generate -u nobody INBOX"},

	{args: "mailbox cryptokey password -u a -o wrong -n new", differs: "a wrong password is called that"},
	{args: "mailbox cryptokey password -u a -o sesame -n new"},
	{args: "mailbox cryptokey password -u a -o new -n sesame"},
	{args: "mailbox cryptokey password -u a -o x -O -n y"},
	{args: "mailbox cryptokey password -u a -o x -n y -N"},
	{args: "mailbox cryptokey password -u a -o sesame -n y -C"},
	{args: "-f json mailbox cryptokey password -u a -o sesame -n new"},
	{args: "-f tab mailbox cryptokey password -F ONE -o new -n sesame"},
	{args: "mailbox cryptokey password -F ONE -o sesame -n sesame", differs: nameless},
	{args: "mailbox cryptokey password -u nobody -o x -n y"},
	{args: "mailbox cryptokey password -u a -o sesame -C"},
	{args: "mailbox cryptokey password -u a -o x -n sesame"},
	{args: "mailbox cryptokey password -u c -o x -n y"},
	{args: "mailbox cryptokey password -F FILE -o sesame -n sesame", differs: twice},
	{args: "mailbox cryptokey password -A -o sesame -n sesame", differs: twice},

	// From here on the stores differ.
	{args: "mailbox cryptokey generate -F FILE -f INBOX", differs: twice},
	{args: sesame + "mailbox cryptokey generate -A -U", differs: twice},
	{args: "-f json mailbox cryptokey generate -A INBOX", differs: twice},
	{args: sesame + "mailbox cryptokey export -A -U", differs: twice},
}

// Why ours differs.
const (
	wrongUse = "a wrong use is 64, not a failure that may pass"
	twice    = "it begins its output anew for each user: it dies, or puts values into wrong columns"
	nameless = "in a command's own format it leaves the user's name out"
	columns  = "a key has a column of its own"
	rewraps  = "-R puts folder keys under the active user key"
)

// TestDoveadmForms gives the same command lines to doveadm and doveadm-crypt, each over its own
// copy of one store, and compares what is written and the exit status.
func TestDoveadmForms(t *testing.T) {
	dir := scratch(t)
	users := "a:{PLAIN}pass::::::\nb:{PLAIN}pass::::::\nc:{PLAIN}pass::::::\n"
	d := setup{dir: dir, users: users,
		top:   "mail_attribute_dict = \"file:~/Maildir/dovecot-attributes\"\n",
		crypt: "save_version = 2\ncurve = \"prime256v1\"\nprivate_password = \"sesame\"\nseal_rounds = 2048\n",
	}.start(t)
	for _, u := range []string{"a", "b"} {
		c := login(t, d.imap, u, "pass")
		for _, f := range []string{"Work", "Empty"} {
			c.must("CREATE %s", f)
		}
		for _, f := range []string{"INBOX", "Work"} {
			if a := c.appendMail(f, "", mail("kept", 500)); !a.ok() {
				t.Fatal(a.tagged)
			}
		}
		c.close()
	}
	d.stop(t)
	// As Dovecot's, ours shall know no password but that on the command line.
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, d.config, strings.Replace(string(text), `"sesame"`, `"%{password}"`, 1))
	copied := scratch(t)
	for _, u := range []string{"a", "b"} {
		if err := os.CopyFS(filepath.Join(copied, u), os.DirFS(filepath.Join(dir, u))); err != nil {
			t.Fatal(err)
		}
	}
	own(t, copied)
	dove := dovecotSetup{homes: copied, users: users, plugin: "mail_crypt_save_version = 2\nmail_crypt_curve = prime256v1\n"}.start(t)
	d.start(t)
	known := map[string]bool{}
	for _, id := range idPattern.FindAllString(d.says(t, form{args: "-f tab mailbox cryptokey list -A *"}).text+d.says(t, form{args: "-f tab mailbox cryptokey list -A -U"}).text, -1) {
		known[id] = true
	}
	list := filepath.Join(dir, "list")
	one := filepath.Join(dir, "one")
	os.WriteFile(list, []byte("a\nb\n"), 0o644)
	os.WriteFile(one, []byte("a\n"), 0o644)
	for _, f := range doveadmForms {
		f.args = strings.NewReplacer("NOFILE", filepath.Join(dir, "missing"), "FILE", list, "ONE", one).Replace(f.args)
		raw := dove.says(t, f)
		theirs, ours := raw.normal(known), d.says(t, f).normal(known)
		if f.differs == twice && (ours.status != 0 || !strings.Contains(ours.text, "a") || !strings.Contains(ours.text, "b")) {
			t.Errorf("%s: exit %d\n%s", f.args, ours.status, ours.text)
		}
		if same := theirs == ours; same != (f.differs == "") {
			t.Errorf("%s: differs %q\n--- doveadm, exit %d\n%s%s--- doveadm-crypt, exit %d\n%s%s", f.args, f.differs,
				theirs.status, theirs.text, raw.errors, ours.status, ours.text, ours.errors)
		}
	}
}

// A said is what a program has written.
type said struct {
	text, errors string
	status       int
}

func says(t *testing.T, f form, name string, args ...string) said {
	t.Helper()
	cmd := exec.Command(name, append(args, strings.Fields(f.args)...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(f.stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func (d *daemon) says(t *testing.T, f form) said {
	return says(t, f, filepath.Join(bin, "doveadm-crypt"), "-c", d.config)
}

func (d *dovecot) says(t *testing.T, f form) said {
	return says(t, f, "doveadm", "-c", d.conf)
}

var (
	idPattern = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	// 2.4 names the folder, and so do we.
	notePattern = regexp.MustCompile(`^doveadm(-crypt)?(\(.*\): (?:Info|Warning): )(?:Mailbox .*: )?(.*)\n$`)
)

// normal leaves out what two runs of one program do not have alike: new ids, and the order of
// the rows.
func (s said) normal(known map[string]bool) said {
	name := func(text string) string {
		return idPattern.ReplaceAllStringFunc(text, func(id string) string {
			if known[id] {
				return id[:8]
			}
			return "NEW"
		})
	}
	s.text = name(s.text)
	lines := strings.SplitAfter(strings.Trim(strings.ReplaceAll(s.text, "},{", "}\n{"), "[]"), "\n")
	for i, l := range lines { // a row of JSON is a line as others
		if strings.HasPrefix(l, "{") {
			lines[i] = strings.TrimSuffix(l, "\n") + "\n"
		}
	}
	slices.Sort(lines)
	s.text = strings.Join(lines, "")
	// What is wrong is said in words of one's own; what is noted beside the rows is not.
	notes := ""
	for _, l := range strings.SplitAfter(s.errors, "\n") {
		if m := notePattern.FindStringSubmatch(l); m != nil {
			notes += m[2] + m[3]
		}
	}
	s.errors = notes
	return s
}
