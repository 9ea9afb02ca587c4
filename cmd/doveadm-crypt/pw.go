package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/userdb"
)

func (t *tool) pw() *cobra.Command {
	var scheme, given string
	c := &cobra.Command{
		Use:     "pw",
		Short:   "make the hash of a password, for the passwd-file",
		Long:    "Make the hash of a password, as the second field of a line of the passwd-file has it.",
		Example: "  doveadm-crypt pw\n  doveadm-crypt pw -s SHA512-CRYPT",
		Args:    cobra.NoArgs,
	}
	secret := t.secretOption(c, "password", "the password", "Password")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		password := []byte(given)
		if cmd.Flags().Changed("plaintext") {
			fmt.Fprintln(t.stderr, commandLineWarning)
		} else if password, err = secret.get(cmd.Context(), true); err != nil {
			return err
		}
		defer clear(password)
		hash, err := userdb.HashPassword(scheme, password)
		if err != nil {
			return fmt.Errorf("%w: %w", admin.ErrUsage, err)
		}
		_, err = fmt.Fprintln(t.stdout, hash)
		return err
	}
	c.Flags().StringVarP(&scheme, "scheme", "s", "", "`SCHEME`, such as ARGON2ID, BLF-CRYPT or SHA512-CRYPT")
	c.Flags().StringVarP(&given, "plaintext", "p", "", "the `PASSWORD`; better typed at the prompt")
	return c
}
