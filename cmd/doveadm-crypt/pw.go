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
		Use:   "pw",
		Short: "make the hash of a password, for the passwd-file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := t.secretFrom(cmd.Flags().Changed("plaintext"), given, "", func() ([]byte, error) { return t.askNew("Password") })
			if err != nil {
				return err
			}
			defer clear(password)
			if cmd.Flags().Changed("plaintext") {
				fmt.Fprintln(t.stderr, "warning: passwords on the command line can be seen by every user of this machine")
			}
			hash, err := userdb.HashPassword(scheme, password)
			if err != nil {
				return fmt.Errorf("%w: %w", admin.ErrUsage, err)
			}
			fmt.Fprintln(t.stdout, hash)
			return nil
		},
	}
	c.Flags().StringVarP(&scheme, "scheme", "s", "", "scheme, such as ARGON2ID, BLF-CRYPT or SHA512-CRYPT")
	c.Flags().StringVarP(&given, "plaintext", "p", "", "the password; better typed at the prompt")
	return c
}
