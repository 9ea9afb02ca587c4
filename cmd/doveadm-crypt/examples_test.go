package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// every calls fn for every command of the tool, but those that cobra adds.
func every(c *cobra.Command, fn func(*cobra.Command)) {
	fn(c)
	for _, sub := range c.Commands() {
		every(sub, fn)
	}
}

func newRoot() *cobra.Command { return (&tool{}).root() }

// TestExamples runs the examples of every command, each command in a store of its own in
// which alice has keys, and with a login password and new ones to read. What --help says
// works.
func TestExamples(t *testing.T) {
	prelude, err := os.ReadFile("testdata/example.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	every(newRoot(), func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" || c.Long == "" {
			t.Errorf("%s: no example, or no help", c.CommandPath())
			return
		}
		var script strings.Builder
		if !ofDaemon(c.Name()) {
			fmt.Fprintf(&script, "exec sh prepare\n")
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if !strings.HasPrefix(line, "  doveadm-crypt ") && !strings.HasPrefix(line, "  token=$(doveadm-crypt ") {
				t.Errorf("%s: %q is no example", c.CommandPath(), line)
			}
			// setup puts in the configuration, which has its usual place otherwise.
			line = strings.TrimSpace(line)
			fmt.Fprintf(&script, "stdin secrets\nexec sh -c %s\n", quoteScript(`. ./setup; `+line))
		}
		name := strings.ReplaceAll(c.CommandPath(), " ", "_") + ".txtar"
		if err := os.WriteFile(filepath.Join(dir, name), append([]byte(script.String()), prelude...), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	testscript.Run(t, testscript.Params{Dir: dir, Setup: func(e *testscript.Env) error {
		if !ofDaemon(e.WorkDir[strings.LastIndex(e.WorkDir, "_")+1:]) {
			return nil
		}
		state := filepath.Join(e.WorkDir, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			return err
		}
		s, err := admin.Listen(filepath.Join(state, admin.SocketName), busy{}, nil)
		if err == nil {
			e.Defer(func() { s.Close() })
		}
		return err
	}})
}

// ofDaemon reports whether a command needs a daemon that runs.
func ofDaemon(name string) bool { return slices.Contains([]string{"status", "who", "kick"}, name) }

// busy is a daemon with one session.
type busy struct{ admin.Service }

var session = admin.Session{ID: 7, Service: "imap", User: "alice", Remote: "192.0.2.7", TLS: true, Since: time.Now(), Mailbox: "INBOX\x1b[2J", Command: "IDLE"}

func (busy) Status(context.Context) (admin.Status, error) {
	return admin.Status{PID: 1, Daemon: true, Protocol: admin.Version, Sessions: 1}, nil
}

func (busy) Who(_ context.Context, r admin.WhoRequest) (admin.WhoResult, error) {
	if r.User == "nobody" {
		return admin.WhoResult{}, nil
	}
	return admin.WhoResult{Sessions: []admin.Session{session}}, nil
}

func (busy) Kick(_ context.Context, r admin.KickRequest) (admin.WhoResult, error) {
	if r.User == "" && r.Remote == "" && len(r.IDs) == 0 {
		return admin.WhoResult{}, admin.ErrUsage
	}
	return busy{}.Who(context.Background(), admin.WhoRequest(r))
}

// quoteScript quotes an argument as testscript has it.
func quoteScript(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
