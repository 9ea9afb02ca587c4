package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"mailcrypt/config"
	"mailcrypt/dovecotconf"
	"mailcrypt/internal/system"
)

func (t *tool) configImport() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "import [--output NEW] [FILE]",
		Short: "make a configuration out of Dovecot's",
		Long: `Read a configuration of Dovecot 2.3 or 2.4 and make one for mailcryptd: from FILE, with its includes,
or from what "doveconf -nP" prints, on standard input or in a file. -P shows the secrets; those that are
hidden must be filled in before the new configuration loads.

What has no counterpart is listed line by line, with what that means for users. Nothing else is done
unless --output names a new file, or "-" for standard output; the list goes to standard error then. The
file holds secrets, and its owner alone can read it. It is loaded, to see that it is one.

The exit status is 78 where something must be filled in or changed before mailcryptd takes the
configuration, and 0 otherwise, whatever is not supported.`,
		Example: `  doveadm-crypt config import dovecot.conf
  doveadm-crypt config import --output mailcryptd.toml - <dovecot.conf`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := t.importConfig(args)
			if err != nil {
				return err
			}
			switch output {
			case "":
			case "-":
				if _, err := t.stdout.Write(r.TOML); err != nil {
					return err
				}
				t.stdout = t.stderr
			default:
				if err := r.WriteFile(output); errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
					return usage("--output: %v", err)
				} else if err != nil {
					return err
				}
			}
			return errors.Join(t.showFindings(r, output), t.tryConfig(r, output))
		},
	}
	c.Flags().StringVar(&output, "output", "", "write the configuration to the `NEW` file, which its owner alone can read; \"-\" is standard output")
	return c
}

// importConfig reads Dovecot's configuration. A file may have includes, standard input says
// where it came from.
func (t *tool) importConfig(args []string) (*dovecotconf.Result, error) {
	if len(args) == 0 || args[0] == "-" {
		if _, ok := terminal(t.stdin); ok {
			return nil, usage("give a file, or: doveconf -nP | doveadm-crypt config import -")
		}
		return dovecotconf.Import(t.stdin, dovecotconf.Options{})
	}
	r, err := dovecotconf.ImportFile(args[0])
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = usage("%v", err)
	}
	return r, err
}

// An importedConfig is the answer for programs.
type importedConfig struct {
	Version  string                `json:"version"`
	Output   string                `json:"output,omitempty"`
	Findings []dovecotconf.Finding `json:"findings"`
}

func (t *tool) showFindings(r *dovecotconf.Result, output string) error {
	if t.format == "" || t.format == "table" {
		w := &cleanWriter{w: t.stdout}
		return errors.Join(r.WriteReport(w), w.end())
	}
	tb := table{columns: []column{{title: "File"}, {title: "Line"}, {title: "Setting"}, {title: "Value"}, {title: "Effect"}, {title: "Advice"}}}
	for _, f := range r.Findings {
		line := ""
		if f.Line > 0 {
			line = fmt.Sprint(f.Line)
		}
		tb.add(f.File, line, f.Setting, f.Value, string(f.Effect), f.Advice)
	}
	return t.show(tb, importedConfig{r.Version, output, append([]dovecotconf.Finding{}, r.Findings...)})
}

// tryConfig loads what was written, as mailcryptd does.
func (t *tool) tryConfig(r *dovecotconf.Result, output string) error {
	if n := r.Count(dovecotconf.Missing); n > 0 {
		return fmt.Errorf("%w: %d settings must be filled in", errIncomplete, n)
	}
	if output == "" || output == "-" {
		return nil
	}
	c, err := config.Load(output)
	if err == nil {
		_, err = system.Defaults(c)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errIncomplete, err)
	}
	if t.format == "" || t.format == "table" {
		fmt.Fprintf(t.stdout, "%s loads. Look it over with: mailcryptd check-config -c %s\n", clean(output), clean(output))
	}
	return nil
}
