package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokey() *cobra.Command {
	c := &cobra.Command{
		Use:   "cryptokey",
		Short: "manage users' keys",
		Long: `Manage the keys that a user's mail is encrypted to. Each message is encrypted to a key of its
folder, folder keys are wrapped by the user key, and the user key is sealed by a password or another
key. New keys become the active ones; old ones stay for the mail that needs them.`,
		Example: "  doveadm-crypt cryptokey --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.cryptokeyList(), t.cryptokeyGenerate(), t.cryptokeyRewrap(), t.cryptokeyExport(), t.cryptokeyImport(), t.cryptokeyRetire(), t.cryptokeyCheck(), t.checkBackup(),
		t.cryptokeyPassword(), t.cryptokeyCommit(), t.cryptokeyUndo())
	return c
}

// userOption adds -u to a command about one user.
func (t *tool) userOption(c *cobra.Command, user *string) {
	c.Flags().StringVarP(user, "user", "u", "", "whose, by the name of the `USER`")
	c.RegisterFlagCompletionFunc("user", t.completeUsers)
}

func needUser(user string) error {
	if user == "" {
		return usage("say whose keys, with -u USER")
	}
	return nil
}

// place says in a table where a key hangs.
func place(k admin.KeyRef) string {
	switch {
	case k.User:
		return "<userkey>"
	case k.Folder == "" && k.GUID != "":
		return "<deleted " + k.GUID + ">"
	}
	return k.Folder
}

// sealText says in a table how a key is sealed.
func sealText(s *admin.Seal) string {
	if s == nil {
		return ""
	}
	switch s.By {
	case "key":
		return "key " + s.Key[:min(12, len(s.Key))]
	case "password":
		if s.Rounds > 0 {
			return fmt.Sprintf("password, %s, %d rounds", s.Hash, s.Rounds)
		}
	case "none":
		return "nothing"
	}
	return s.By
}

// join leaves out what is empty.
func join(parts ...string) string {
	var has []string
	for _, p := range parts {
		if p != "" {
			has = append(has, p)
		}
	}
	return strings.Join(has, "; ")
}
