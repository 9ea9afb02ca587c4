package message

import (
	"strings"
	"testing"
)

// FuzzIsNamed: the quick comparison of names says what splitField says.
func FuzzIsNamed(f *testing.F) {
	for _, field := range []string{"From: a\r\n", "from : a\n", "FROM\x00x: a\r\n", "from\r\n : b\r\n", "no colon\r\n", ": empty\r\n", "\u212afrom: K\r\n", "f\u017fx: s\r\n",
		" from: a\r\n", "Fr\tom: a\r\n", strings.Repeat("x", 2000) + ": a\r\n"} {
		for _, name := range []string{"from", "FROM", "", "kfrom", "\u212afrom", "fsx", "fr\tom"} {
			f.Add(field, name)
		}
	}
	f.Fuzz(func(t *testing.T, field, name string) {
		want, _, _ := splitField([]byte(field))
		if got := isNamed([]byte(field), "other", name); got != (want == strings.ToLower(name) || want == "other") {
			t.Errorf("%q is named %q: %t, splitField says %q", field, name, got, want)
		}
	})
}
