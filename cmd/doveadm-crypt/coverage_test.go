package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEverythingIsUsed: there is no command, and no option of one, that neither a script nor
// an example uses; both are run by other tests.
func TestEverythingIsUsed(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	u := uses{commands: map[*cobra.Command]bool{}, flags: map[*pflag.Flag]bool{}}
	root := newRoot()
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		commands, _, _ := strings.Cut(string(text), "\n-- ")
		for line := range strings.Lines(commands) {
			if !strings.HasPrefix(line, "#") {
				u.line(root, line)
			}
		}
	}
	every(root, func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			u.line(root, line)
		}
	})
	every(root, func(c *cobra.Command) {
		if !u.commands[c] && !c.HasSubCommands() {
			t.Errorf("%s: no script uses it", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !u.flags[f] && f.Name != "help" && f.Name != "version" && c.InheritedFlags().Lookup(f.Name) == nil {
				t.Errorf("%s --%s: no script uses it", c.CommandPath(), f.Name)
			}
		})
	})
}

// uses are the commands and options that lines of scripts have.
type uses struct {
	commands map[*cobra.Command]bool
	flags    map[*pflag.Flag]bool
}

// line takes in each call of the program in a line, which may be of a shell.
func (u uses) line(root *cobra.Command, line string) {
	for i, call := range strings.Split(line, "doveadm-crypt ") {
		if i == 0 {
			continue
		}
		if end := strings.IndexAny(call, "|;&)<>"); end >= 0 {
			call = call[:end]
		}
		u.call(root, strings.Fields(strings.NewReplacer(`'`, "", `"`, "").Replace(call)))
	}
}

func (u uses) call(c *cobra.Command, words []string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		name, long := strings.CutPrefix(w, "--")
		switch {
		case long:
			name, _, given := strings.Cut(name, "=")
			if f := c.Flag(name); f != nil {
				u.flags[f] = true
				if f.NoOptDefVal == "" && !given {
					i++
				}
			}
		case strings.HasPrefix(w, "-"):
			for n, letter := range w[1:] {
				f := shorthand(c, string(letter))
				if f == nil {
					break
				}
				u.flags[f] = true
				if f.NoOptDefVal == "" {
					if n == len(w)-2 {
						i++
					}
					break
				}
			}
		default:
			if sub, _, err := c.Find([]string{w}); err == nil && sub != c {
				c = sub
			}
		}
	}
	u.commands[c] = true
}

func shorthand(c *cobra.Command, letter string) *pflag.Flag {
	for ; c != nil; c = c.Parent() {
		if f := c.Flags().ShorthandLookup(letter); f != nil {
			return f
		}
		if f := c.PersistentFlags().ShorthandLookup(letter); f != nil {
			return f
		}
	}
	return nil
}
