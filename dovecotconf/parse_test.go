package dovecotconf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		in     string
		want   line
		reason bool
	}{
		{"a = b", line{setting, "a", "b", plain}, false},
		{"a=b c", line{setting, "a", "b c", plain}, false},
		{"a = ", line{setting, "a", "", plain}, false},
		{`a = ""`, line{setting, "a", "", quoted}, false},
		{`a = "x \" y \\"`, line{setting, "a", `x " y \`, quoted}, false},
		{`a = 'x y'`, line{setting, "a", "x y", quoted}, false},
		{`a = "x" y`, line{setting, "a", `"x" y`, plain}, false},
		{"a = < /etc/x ", line{setting, "a", "/etc/x", fromFile}, false},
		{"s {", line{begin, "s", "", plain}, false},
		{"s name {", line{begin, "s", "name", plain}, false},
		{`s "a \" b" {`, line{begin, "s", `a " b`, plain}, false},
		{"group @g one {", line{begin, "@g", "one", plain}, false},
		{`"quoted key" = v`, line{setting, "quoted key", "v", plain}, false},
		{"}", line{kind: end, key: ""}, false},
		{"!include x/*.conf", line{kind: include, value: "x/*.conf"}, false},
		{"!include_try x", line{kind: includeTry, value: "x"}, false},
		{"word", line{}, true},
		{"s name { x", line{}, true},
		{"= v", line{}, true},
		{"two words", line{}, true},
	} {
		got, reason := parseLine(tt.in, false)
		if got != tt.want || (reason != "") != tt.reason {
			t.Errorf("%q is %+v, %q; want %+v", tt.in, got, reason, tt.want)
		}
	}
	for in, want := range map[string]string{"a # b": "a ", `"a # b"`: `"a # b"`, `"a \" # b"`: `"a \" # b"`, "'#' # x": "'#' ", "a#b": "a", `it's # open`: `it's # open`} {
		if got := uncomment(in); got != want {
			t.Errorf("%q without its comment is %q", in, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]string{"2 secs": "2s", "2": "2s", "5s": "5s", "1 min": "1m0s", "500 ms": "500ms", "0": "0s", "2 hours": "2h0m0s"} {
		if d, ok := parseTime(in); !ok || d.String() != want {
			t.Errorf("%q is %v, %v", in, d, ok)
		}
	}
	for _, in := range []string{"", "x", "5 m", "99999999999999", "-1"} {
		if d, ok := parseTime(in); ok {
			t.Errorf("%q is %v", in, d)
		}
	}
}

func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.conf", "mail_home = /a\n!include b.conf\n")
	write("b.conf", "mail_home = /b\nmail_plugins = $mail_plugins quota\n")
	r, err := Import(strings.NewReader("mail_plugins = mail_crypt\n!include a.conf\n"), Options{Dir: dir})
	if err != nil || !strings.Contains(string(r.TOML), `mail_home = "/b"`) {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	write("b.conf", "!include a.conf\n")
	if _, err := ImportFile(filepath.Join(dir, "a.conf")); !errors.Is(err, ErrSyntax) {
		t.Errorf("files that include one another: %v", err)
	}
	if _, err := Import(strings.NewReader("!include none.conf\n"), Options{Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
	if _, err := Import(strings.NewReader("!include_try none.conf\n"), Options{Dir: dir}); err != nil {
		t.Errorf("a file that may be missing: %v", err)
	}
	if _, err := Import(strings.NewReader("!include x.conf\n"), Options{}); err == nil {
		t.Error("a relative include of a file without a directory")
	}
}

func TestBounds(t *testing.T) {
	for name, text := range map[string]string{
		"settings":  strings.Repeat("a = b\n", maxNodes+1),
		"sections":  strings.Repeat("a {\n", maxDepth+1),
		"variables": "x = y\n" + strings.Repeat("a = "+strings.Repeat("$x ", 100)+"\n", 200),
		"doubling":  "a = xxxxxxxx\n" + strings.Repeat("a = $a $a\n", 400),
		"size":      strings.Repeat("# comment\n", maxText/10+1),
		"value":     "a = " + strings.Repeat("x", maxValue+1),
		"continued": strings.Repeat("xxxxxxxxxxxxxxx \\\n", maxValue/8),
		"open":      "a {\n",
		"closed":    "}\n",
		"binary":    "a = \xff\n",
		"NUL":       "a = \x00\n",
	} {
		_, err := Import(strings.NewReader(text), Options{})
		if want := name == "doubling"; (err == nil) != want || err != nil && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzImport(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.conf")
	for _, in := range inputs {
		text, err := os.ReadFile(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(roundTrip)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "!include") { // of this machine's files
			return
		}
		r, err := Import(strings.NewReader(text), Options{Name: "fuzz"})
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		checkTOML(t, r)
	})
}
