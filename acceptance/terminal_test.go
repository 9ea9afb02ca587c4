package acceptance

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A terminal is a screen with a program on it, kept by tmux: what a person at the keyboard
// would type and read.
type terminal struct {
	b      *box
	socket string
}

// terminal runs a program on a screen of 110 columns and 40 lines until the test ends.
func (b *box) terminal(args ...string) *terminal {
	b.t.Helper()
	t := &terminal{b, filepath.Join(b.t.TempDir(), "tmux")}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	t.tmux("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "40", "exec "+strings.Join(quoted, " "))
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("the screen of %s at last:\n%s", args[0], t.screen())
		}
		t.end()
	})
	return t
}

func (t *terminal) tmux(args ...string) {
	t.b.t.Helper()
	t.b.run(append([]string{"tmux", "-u", "-S", t.socket}, args...)...)
}

// end ends the program if it still runs.
func (t *terminal) end() { exec.Command("tmux", "-S", t.socket, "kill-server").Run() }

// ended reports whether the program is gone.
func (t *terminal) ended() bool {
	return exec.Command("tmux", "-S", t.socket, "has-session").Run() != nil
}

// screen is what stands on the screen.
func (t *terminal) screen() string {
	out, _ := exec.Command("tmux", "-u", "-S", t.socket, "capture-pane", "-p").Output()
	return strings.TrimSpace(blankLines.ReplaceAllString(string(out), "\n\n"))
}

var blankLines = regexp.MustCompile(`\n\s*\n`)

// keys presses keys by tmux's names of them, such as Enter or C-x.
func (t *terminal) keys(names ...string) {
	t.b.t.Helper()
	t.tmux(append([]string{"send-keys"}, names...)...)
}

// text types characters; a line feed is the Enter key.
func (t *terminal) text(s string) {
	t.b.t.Helper()
	s = strings.ReplaceAll(s, "\n", "\r")
	if strings.HasSuffix(s, ";") {
		s = s[:len(s)-1] + `\;` // or it would part tmux's commands
	}
	t.tmux("send-keys", "-l", s)
}

// wait waits until the screen shows all of these.
func (t *terminal) wait(shown ...string) {
	t.b.t.Helper()
	var missing string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		missing = ""
		screen := t.screen()
		for _, s := range shown {
			if !strings.Contains(screen, s) {
				missing = s
			}
		}
		if missing == "" {
			return
		}
	}
	t.b.t.Fatalf("the screen does not show %q:\n%s", missing, t.screen())
}
