package message

import (
	"strings"
	"testing"
)

func TestAddressText(t *testing.T) {
	for in, want := range map[string]string{
		"Ann <a@b>":                           "Ann <a@b>",
		"Ann  Example\r\n\t<a@b>, c@d":        `"Ann Example" <a@b>, <c@d>`,
		"a@b (Ann (x) Example)":               `"Ann (x) Example" <a@b>`,
		"friends: a@b, C <c@d>;, e@f":         "friends: <a@b>, C <c@d>;, <e@f>",
		"nobody:;":                            "nobody: ;",
		"=?utf-8?q?J=C3=BC?= =?a?q?b?= <j@b>": "=?utf-8?q?J=C3=BC?= =?a?q?b?= <j@b>",
		`"q \"q" <"a b"@c>`:                   `"q \"q" <"a b"@c>`,
		"<@r,@s:a@b>":                         "<@r,@s:a@b>",
		"":                                    "",
	} {
		if got := AddressText([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, s := range []string{"a,", "a:;", "a:", ";", "(", `"`, "<", "a@b "} {
		AddressText([]byte(strings.Repeat(s, 1<<20/len(s))))
	}
}
