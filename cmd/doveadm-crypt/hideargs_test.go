package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestHideArguments(t *testing.T) {
	for in, want := range map[string]string{
		"cryptokey password -u alice -o old -n new":                            "cryptokey password -u alice -o *** -n ***",
		"-oold --new-password=new --old-password old x":                        "-o*** --new-password=*** --old-password *** x",
		"-o plugin/mail_crypt_private_password=s mailbox":                      "-o " + strings.Repeat("*", len("plugin/mail_crypt_private_password=s")) + " mailbox",
		"pw -p s -s SHA256":                                                    "pw -p * -s SHA256",
		"pw --plaintext":                                                       "pw --plaintext",
		"cryptokey list -Uf -u bob --count":                                    "cryptokey list -Uf -u bob --count",
		"mailbox cryptokey password -COo":                                      "mailbox cryptokey password -COo",
		"user password -u alice --old-password-file /f --new-password-fd 3 --": "user password -u alice --old-password-file /f --new-password-fd 3 --",
		"": "",
	} {
		args := strings.Fields(strings.Clone(in)) // not of the program's text, which cannot be written
		kept := hideArguments(args)
		if got := strings.Join(args, " "); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", in, got, want)
		}
		if strings.Join(kept, " ") != in {
			t.Errorf("%q: the copy is %q", in, kept)
		}
	}
}

// TestSecretFlags: every option that takes a secret is hidden.
func TestSecretFlags(t *testing.T) {
	n := 0
	every(newRoot(), func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			value, usage := pflag.UnquoteUsage(f)
			if value != "SECRET" && value != "PASSWORD" && !strings.Contains(usage, "secret") || strings.HasSuffix(f.Name, "-file") || f.Value.Type() == "bool" {
				return
			}
			n++
			if !slices.Contains(secretFlags.names, "--"+f.Name) || f.Shorthand != "" && !strings.Contains(secretFlags.letters, f.Shorthand) {
				t.Errorf("%s --%s takes a %s and is not hidden", c.CommandPath(), f.Name, value)
			}
		})
	})
	if n < 4 {
		t.Errorf("only %d options take a secret", n)
	}
}
