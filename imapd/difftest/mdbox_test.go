package difftest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mailcrypt/storage/handover"
	"mailcrypt/storage/mdbox"
)

// convert has Dovecot make an mdbox store of a Maildir, with its UIDs, flags and GUIDs.
func (w *world) convert(maildir string) (string, error) {
	home := maildir + "-home"
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	if err := copyTree(maildir, filepath.Join(home, "Maildir"), w.uid, w.gid); err != nil {
		return "", err
	}
	if err := os.Chown(home, w.uid, w.gid); err != nil {
		return "", err
	}
	cmd := exec.Command(w.doveadm, "-c", w.conf(""), "-o", "mail_location=maildir:"+home+"/Maildir", "backup", w.location())
	cmd.Env, cmd.Dir = append(os.Environ(), "USER=mail", "HOME="+home, "TZ=UTC"), home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.gid)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("doveadm backup: %w: %s", err, out)
	}
	return filepath.Join(home, w.root), nil
}

// takeOver makes a store of Dovecot's one of ours.
func takeOver(root string) error {
	l := mdbox.Location{Root: root}
	_, err := handover.Import(context.Background(), handover.Source{Location: l}, l, handover.Options{Lossy: true})
	return err
}

// mdboxDiffers are steps, by script, that Dovecot answers differently over mdbox alone, and the
// row of docs/compatibility.md about it.
var mdboxDiffers = map[string]struct{ row, steps string }{
	"mailboxes/create": {"mdbox: CREATE of a name that ends in a separator",
		"A: LIST \"\" *\nA: STATUS Slash (MESSAGES)\nA: SELECT Slash/Under"},
	"mailboxes/rename": {"codes of refusals",
		"A: STATUS Job (MESSAGES UIDVALIDITY UIDNEXT)\nA: STATUS Job/Plans/2024 (MESSAGES UIDVALIDITY UIDNEXT)"},
	"list/wildcards":         {"mdbox: LIST of a pattern that begins with a separator", "A: LIST Work /%"},
	"copy/keywords go along": {"mdbox: a keyword in another case", "B: STORE 1 +FLAGS (one)\nB: FETCH 1 FLAGS"},
	"append/flags and dates": {"mdbox: a keyword in another case", "A: FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"},
	"odd/folders":            {"", "all"}, // Dovecot itself cannot convert its folders
	"odd/messages":           {"", "all"},
	"odd/uidlist":            {"", "all"},
}

// mailboxesOnly leaves levels out that are no mailboxes: Dovecot has directories for them,
// which stay, and are \Noselect in the extended form too.
func mailboxesOnly(rs []string) []string {
	return slices.DeleteFunc(slices.Clone(rs), func(r string) bool {
		attrs, _, _ := strings.Cut(strings.TrimPrefix(r, "* LIST ("), ")")
		return strings.HasPrefix(r, "* LIST (") && !strings.Contains(attrs, `\Subscribed`) &&
			(strings.Contains(attrs, `\Noselect`) || strings.Contains(attrs, `\NonExistent`))
	})
}

// TestScriptsMdbox plays scripts with both servers on mdbox, some of them unless
// DIFFTEST_MDBOX says all. Those in which other programs change files are left out: with
// mdbox there are none. Where a difference is documented for Maildir there may be none.
func TestScriptsMdbox(t *testing.T) {
	w := newWorldOf(t, "mdbox")
	doc, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range mdboxDiffers {
		if !strings.Contains(string(doc), "| "+d.row) {
			t.Errorf("%s: docs/compatibility.md has no row %q", name, d.row)
		}
	}
	scripts := slices.DeleteFunc(allScripts(t), func(s *script) bool {
		return mdboxDiffers[s.name].steps == "all" || slices.ContainsFunc(s.steps, func(st *step) bool { return st.verb == "do" })
	})
	if os.Getenv("DIFFTEST_MDBOX") != "all" {
		rand.Shuffle(len(scripts), func(i, j int) { scripts[i], scripts[j] = scripts[j], scripts[i] })
		scripts = scripts[:len(scripts)/4]
	}
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, err := w.compare(s)
			if err != nil {
				t.Fatal(err)
			}
			known := strings.Split(mdboxDiffers[s.name].steps, "\n")
			for i, st := range s.steps {
				ours, theirs := mailboxesOnly(r.ours[i]), mailboxesOnly(r.theirs[i])
				if st.reason == "" && !slices.Equal(ours, theirs) && !slices.Contains(known, st.source) {
					t.Errorf("testdata/scripts/%s.txt line %d: %s\n%s", filepath.Dir(s.name), st.line, st.source, diff(ours, theirs))
				}
			}
		})
	}
	t.Logf("%d scripts", len(scripts))
}
