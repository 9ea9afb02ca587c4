package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) user() *cobra.Command {
	c := &cobra.Command{Use: "user", Short: "manage users"}
	c.AddCommand(t.userPassword())
	return c
}

func (t *tool) userPassword() *cobra.Command {
	var user, scheme, oldFile, newFile string
	c := &cobra.Command{
		Use:   "password -u USER",
		Short: "change a user's login password, and the seals of the keys with it",
		Long: `Change the login password of USER in the passwd-file and, where keys are sealed by it, their
seals, as one: if anything stops halfway, the old password or the new one opens both.
Without a terminal, passwords are read from standard input, a line each: the old one, then
the new one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return fmt.Errorf("%w: say whose password, with -u USER", admin.ErrUsage)
			}
			old, err := t.secretFrom(false, "", oldFile, func() ([]byte, error) { return t.ask("Old password") })
			if err != nil {
				return err
			}
			defer clear(old)
			fresh, err := t.secretFrom(false, "", newFile, func() ([]byte, error) { return t.askNew("New password") })
			if err != nil {
				return err
			}
			defer clear(fresh)
			s, err := t.service(cmd.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			result, err := s.SetPassword(cmd.Context(), admin.SetPasswordRequest{User: user, Old: old, New: fresh, Scheme: scheme})
			t.printKeys(result)
			if result.LoginChanged {
				fmt.Fprintf(t.stdout, "Changed the login password of %s; %d key(s) have a new seal\n", user, result.Changed())
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&user, "user", "u", "", "whose password")
	f.StringVarP(&scheme, "scheme", "s", "", "scheme of the login hash")
	f.StringVar(&oldFile, "old-password-file", "", "read the old password from the first line of `FILE`")
	f.StringVar(&newFile, "new-password-file", "", "read the new password from the first line of `FILE`")
	return c
}
