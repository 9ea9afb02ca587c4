package difftest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// play runs a script on one server and returns the normalised answer to each step.
func play(s *script, dial dialer, act func(string) error) ([][]string, error) {
	n := newNormaliser(s)
	talks := map[string]*talk{}
	defer func() {
		for _, t := range talks {
			t.close()
		}
	}()
	var all [][]string
	for _, st := range s.steps {
		if st.verb == "do" {
			if err := act(st.text); err != nil {
				return all, fmt.Errorf("line %d: %w", st.line, err)
			}
			all = append(all, nil)
			continue
		}
		t := talks[st.session]
		if t == nil && st.verb == "drop" {
			return all, fmt.Errorf("line %d: no session %s", st.line, st.session)
		}
		if t == nil {
			var err error
			if t, err = dial(); err != nil {
				return all, err
			}
			talks[st.session] = t
		}
		got, err := t.step(st, n)
		if err != nil {
			return all, fmt.Errorf("line %d: %w", st.line, err)
		}
		all = append(all, n.responses(got))
		if len(got) > 0 && strings.HasPrefix(got[len(got)-1], "(") || st.verb == "drop" || isLogout(st) {
			t.close()
			delete(talks, st.session)
		}
	}
	return all, nil
}

func isLogout(st *step) bool {
	return st.verb == "send" && strings.EqualFold(strings.TrimSpace(st.text), "LOGOUT")
}

// step does what a line says.
func (t *talk) step(st *step, n *normaliser) ([]string, error) {
	text, err := n.fill(st.text)
	if err != nil {
		return nil, err
	}
	switch st.verb {
	case "wait":
		return t.wait(), nil
	case "drop":
		return nil, nil
	case "raw":
		b, err := strconv.Unquote(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		return t.raw(b), nil
	}
	pieces, err := st.pieces(text)
	if err != nil {
		return nil, err
	}
	return t.command(pieces), nil
}

// A result is both transcripts.
type result struct {
	ours, theirs [][]string
}

// compare runs a script on both.
func (w *world) compare(s *script) (*result, error) {
	p, err := w.newPlace(s.maildir, s.config)
	if err != nil {
		return nil, err
	}
	defer p.remove()
	var r result
	var oursErr, theirsErr error
	var both sync.WaitGroup
	both.Go(func() {
		r.ours, oursErr = play(s, p.dialOurs, func(text string) error { return do(p.ours+"/Maildir", text, -1, -1) })
	})
	both.Go(func() {
		r.theirs, theirsErr = play(s, p.dialTheirs, func(text string) error { return do(p.theirs+"/Maildir", text, w.uid, w.gid) })
	})
	both.Wait()
	if oursErr != nil {
		return nil, fmt.Errorf("ours: %w", oursErr)
	}
	if theirsErr != nil {
		return nil, fmt.Errorf("Dovecot: %w", theirsErr)
	}
	return &r, nil
}

// failures says what is wrong, step by step; "" is nothing.
func (r *result) failures(s *script, documented func(string) bool) string {
	var b strings.Builder
	for i, st := range s.steps {
		same := slices.Equal(r.ours[i], r.theirs[i])
		switch {
		case st.reason != "" && same:
			fmt.Fprintf(&b, "line %d: there is no difference any more: %s\n", st.line, st.source)
		case st.reason != "" && !documented(st.reason):
			fmt.Fprintf(&b, "line %d: docs/compatibility.md has no row %q\n", st.line, st.reason)
		case st.reason == "" && !same:
			fmt.Fprintf(&b, "line %d: %s\n%s", st.line, st.source, diff(r.ours[i], r.theirs[i]))
		}
		for _, h := range st.holds {
			if !slices.Contains(r.ours[i], h) {
				fmt.Fprintf(&b, "line %d: %s\nwe did not say %q but\n%s", st.line, st.source, h, diff(r.ours[i], r.ours[i]))
			}
		}
	}
	return b.String()
}

// diff shows two answers, the longest common part once.
func diff(ours, theirs []string) string {
	var b strings.Builder
	show := func(mark, r string) {
		if len(r) > 500 {
			r = r[:500] + "..."
		}
		fmt.Fprintf(&b, "    %s %s\n", mark, strings.TrimSuffix(strconv.Quote(r)[1:], `"`))
	}
	// lengths[i][j] is that of the longest common subsequence of ours[i:] and theirs[j:].
	lengths := make([][]int, len(ours)+1)
	for i := range lengths {
		lengths[i] = make([]int, len(theirs)+1)
	}
	for i := len(ours) - 1; i >= 0; i-- {
		for j := len(theirs) - 1; j >= 0; j-- {
			if ours[i] == theirs[j] {
				lengths[i][j] = lengths[i+1][j+1] + 1
			} else {
				lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(ours) || j < len(theirs); {
		switch {
		case i < len(ours) && j < len(theirs) && ours[i] == theirs[j]:
			show("        ", ours[i])
			i, j = i+1, j+1
		case j == len(theirs) || i < len(ours) && lengths[i+1][j] >= lengths[i][j+1]:
			show("ours    ", ours[i])
			i++
		default:
			show("Dovecot ", theirs[j])
			j++
		}
	}
	return b.String()
}

var docRow = regexp.MustCompile(`(?m)^\| ([^|]+?) \|`)

// documentedDifferences are the first cells of the table in docs/compatibility.md.
func documentedDifferences(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## IMAP, command by command\n")
	if !ok {
		t.Fatal("docs/compatibility.md has no section of this test")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for _, m := range docRow.FindAllStringSubmatch(section, -1) {
		if m[1] != "" && !strings.HasPrefix(m[1], "---") {
			all = append(all, m[1])
		}
	}
	return all
}

// TestMain lets more scripts run at once than there are processors: most of them wait.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6")
	os.Exit(m.Run())
}

func TestScripts(t *testing.T) {
	w := newWorld(t)
	rows := documentedDifferences(t)
	used := map[string]bool{}
	scripts := allScripts(t)
	commands := 0
	for _, s := range scripts {
		commands += len(s.steps)
		for _, st := range s.steps {
			used[st.reason] = true
		}
	}
	t.Run("all", func(t *testing.T) {
		for _, s := range scripts {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				r, err := w.compare(s)
				if err != nil {
					t.Fatal(err)
				}
				if os.Getenv("DIFFTEST_SHOW") != "" {
					for i, st := range s.steps {
						t.Logf("%s\n%s", st.source, diff(r.ours[i], r.theirs[i]))
					}
				}
				if f := r.failures(s, func(reason string) bool { return slices.Contains(rows, reason) }); f != "" {
					t.Errorf("testdata/scripts/%s\n%s", filepath.Dir(s.name)+".txt", f)
				}
			})
		}
	})
	for _, row := range rows {
		if !used[row] && !usedElsewhere[row] {
			t.Errorf("docs/compatibility.md: no script shows %q", row)
		}
	}
	t.Logf("%d scripts, %d steps", len(scripts), commands)
}

// usedElsewhere are rows that other tests than the scripts' show.
var usedElsewhere = map[string]bool{
	`\Marked and \UnMarked`:                true, // the normaliser
	"messages of the same place in a SORT": true, // tolerate
	// TestMIME keeps away from these.
	"repeated or broken Date fields, in searches, SORT and THREAD": true,
	"HEADER.FIELDS of a header that ends without a line end":       true,
	"addresses that are none, in searches":                         true,
}
