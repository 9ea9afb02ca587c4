// Package dovecotconf makes a configuration of mailcryptd out of one of Dovecot's.
//
// It reads what "doveconf -n" and "doveconf -nP" print and configuration files with their
// includes, of Dovecot 2.3 and 2.4, and tells setting by setting what has no counterpart and
// what that means for users. Nothing is guessed silently: a setting is taken over, or it is
// in the report.
//
// Secrets of the input go into the text of the configuration and nowhere else. Those that
// doveconf has hidden become references to files that do not exist, so that the result does
// not load before they are filled in: encryption must not be off, or keys open, because of a
// missing option -P.
//
// The grammar, by Dovecot's config-parser.c:
//
//	line    = key "=" value / section [name] "{" / "}" / "!include" file / "#" comment
//	value   = text / DQUOTE escaped DQUOTE / "<" file / words of which some are $variables
//
// A backslash at the end continues a line; a "#" that is not in quotes ends it.
package dovecotconf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mailcrypt/internal/durable"
)

// ErrSyntax reports text that is no configuration of Dovecot's.
var ErrSyntax = errors.New("dovecotconf: syntax error")

// ErrTooLarge reports a configuration beyond every bound of a real one.
var ErrTooLarge = errors.New("dovecotconf: too large")

// An Effect says what becomes of a setting that was not simply taken over.
type Effect string

const (
	// NotSupported is what Dovecot does and mailcryptd does not: users or admins notice.
	NotSupported Effect = "not supported"
	// Ignored is what means nothing to mailcryptd, and is not missed.
	Ignored Effect = "ignored"
	// Different is what mailcryptd does differently unless it is told otherwise.
	Different Effect = "different default"
	// Missing is what the configuration needs and the input does not say.
	Missing Effect = "missing"
)

// A Finding is one setting that has no exact counterpart.
type Finding struct {
	File    string `json:"file,omitempty"` // "" for a setting that is not in the input
	Line    int    `json:"line,omitempty"`
	Setting string `json:"setting"` // with the sections around it: "protocol imap { x }"
	Value   string `json:"value"`   // "[hidden]" where it is, or could be, a secret
	Effect  Effect `json:"effect"`
	Advice  string `json:"advice"`
}

// A Result is a configuration that was made.
type Result struct {
	Version  string // of the syntax: "2.3" or "2.4"
	TOML     []byte // the text of the configuration; it may hold secrets
	Findings []Finding
}

// Count is how many findings have an effect. Where any are Missing, the configuration does
// not load before they are filled in.
func (r *Result) Count(e Effect) int {
	n := 0
	for _, f := range r.Findings {
		if f.Effect == e {
			n++
		}
	}
	return n
}

// Options say where the input comes from.
type Options struct {
	// Name is the file's, for findings. "" is "-".
	Name string
	// Dir is what relative names of files are relative to. "" is the directory that the
	// head of doveconf's output names, if it does.
	Dir string
}

// ImportFile reads a configuration file, its includes relative to it.
func ImportFile(path string) (*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dovecotconf: %w", err)
	}
	defer f.Close()
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("dovecotconf: %w", err)
	}
	return Import(f, Options{Name: path, Dir: filepath.Dir(abs)})
}

// Import reads what doveconf prints, or the text of a configuration file. An error wraps
// ErrSyntax or ErrTooLarge or comes from reading; it holds no value of a setting.
func Import(r io.Reader, o Options) (*Result, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err != nil {
		return nil, fmt.Errorf("dovecotconf: reading: %w", err)
	}
	if o.Name == "" {
		o.Name = "-"
	}
	t := &tree{root: &node{section: true}, dir: o.Dir, open: []string{filepath.Join(o.Dir, filepath.Base(o.Name))}}
	if err := t.file(o.Name, o.Dir, text); err != nil {
		return nil, err
	}
	c := newConverter(t)
	c.convert()
	return &Result{Version: c.version, TOML: c.out.text(c), Findings: c.findings}, nil
}

// WriteReport writes the findings for people, those that matter most first.
func (r *Result) WriteReport(w io.Writer) error {
	var b strings.Builder
	for _, part := range []struct {
		effect Effect
		title  string
	}{
		{Missing, "To be filled in before the configuration loads"},
		{NotSupported, "Not supported"},
		{Different, "Different"},
		{Ignored, "Without meaning here"},
	} {
		first := true
		for _, f := range r.Findings {
			if f.Effect != part.effect {
				continue
			}
			if first {
				fmt.Fprintf(&b, "%s:\n\n", part.title)
				first = false
			}
			place := ""
			if f.Line > 0 {
				place = fmt.Sprintf("%s:%d: ", f.File, f.Line)
			}
			fmt.Fprintf(&b, "  %s%s", place, f.Setting)
			if f.Value != "" {
				fmt.Fprintf(&b, " = %s", f.Value)
			}
			fmt.Fprintf(&b, "\n      %s\n", f.Advice)
		}
		if !first {
			b.WriteString("\n")
		}
	}
	if b.Len() == 0 {
		b.WriteString("Everything was taken over.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteFile writes the configuration to a new file that its owner alone can read. It does
// not replace a file.
func (r *Result) WriteFile(path string) error {
	err := durable.WriteNew(path, func(w io.Writer) error {
		_, err := w.Write(r.TOML)
		return err
	})
	if err != nil {
		return fmt.Errorf("dovecotconf: writing: %w", err)
	}
	return nil
}
