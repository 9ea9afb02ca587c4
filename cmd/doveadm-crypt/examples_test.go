package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
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
		fmt.Fprintf(&script, "exec sh prepare\n")
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
	testscript.Run(t, testscript.Params{Dir: dir})
}

// quoteScript quotes an argument as testscript has it.
func quoteScript(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
