package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokey() *cobra.Command {
	c := &cobra.Command{Use: "cryptokey", Short: "manage users' keys"}
	c.AddCommand(t.cryptokeyPassword())
	return c
}

// cryptokeyPassword is `cryptokey password`, with Dovecot's flags too.
func (t *tool) cryptokeyPassword() *cobra.Command {
	var user, oldRaw, newRaw, oldFile, newFile string
	var askOld, askNew, clearIt, raw bool
	c := &cobra.Command{
		Use:   "password -u USER",
		Short: "give a user's keys a new password",
		Long: `Give every user key of USER a new password. The old seals stay until the new ones have
been read back. Prompts take login passwords and run them through the configured
mail_crypt_private_password; with --raw, and with -o and -n, the secret is taken as it is.
Without a terminal, passwords are read from standard input, a line each: the old one, then
the new one.

The login password is not changed: see "user password" for both at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return fmt.Errorf("%w: say whose keys, with -u USER", admin.ErrUsage)
			}
			flags := cmd.Flags()
			if flags.Changed("old-password") && askOld {
				return fmt.Errorf("%w: old password specified, cannot ask for it", admin.ErrUsage)
			}
			if flags.Changed("new-password") && askNew {
				return fmt.Errorf("%w: new password specified, cannot ask for it", admin.ErrUsage)
			}
			if clearIt && (flags.Changed("new-password") || askNew || newFile != "") {
				return fmt.Errorf("%w: clear password and new password specified", admin.ErrUsage)
			}
			if flags.Changed("old-password") || flags.Changed("new-password") {
				fmt.Fprintln(t.stderr, "warning: passwords on the command line can be seen by every user of this machine")
			}
			r := admin.ResealRequest{User: user, Open: clearIt}
			old, err := t.secretFrom(flags.Changed("old-password"), oldRaw, oldFile, func() ([]byte, error) { return t.ask("Old password") })
			if err != nil {
				return err
			}
			defer clear(old)
			r.Old = []admin.Password{{Secret: old, Login: !raw && !flags.Changed("old-password")}}
			if !clearIt {
				fresh, err := t.secretFrom(flags.Changed("new-password"), newRaw, newFile, func() ([]byte, error) { return t.askNew("New password") })
				if err != nil {
					return err
				}
				defer clear(fresh)
				r.New = &admin.Password{Secret: fresh, Login: !raw && !flags.Changed("new-password")}
			}
			s, err := t.service(cmd.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			result, err := s.Reseal(cmd.Context(), r)
			t.printKeys(result)
			if err == nil || result.Changed() > 0 {
				fmt.Fprintf(t.stdout, "result: Changed password for %d key(s)\n", result.Changed())
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&user, "user", "u", "", "whose keys")
	f.StringVarP(&oldRaw, "old-password", "o", "", "old secret of the seal, as it is")
	f.StringVarP(&newRaw, "new-password", "n", "", "new secret of the seal, as it is")
	f.BoolVarP(&askOld, "ask-old-password", "O", false, "ask for the old password (the default)")
	f.BoolVarP(&askNew, "ask-new-password", "N", false, "ask for the new password (the default)")
	f.BoolVarP(&clearIt, "clear-password", "C", false, "leave the keys without a password")
	f.StringVar(&oldFile, "old-password-file", "", "read the old password from the first line of `FILE`")
	f.StringVar(&newFile, "new-password-file", "", "read the new password from the first line of `FILE`")
	f.BoolVar(&raw, "raw", false, "take passwords as the secret of the seal, not as login passwords")
	return c
}

// secretFrom takes a secret from where the flags say.
func (t *tool) secretFrom(given bool, value, file string, ask func() ([]byte, error)) ([]byte, error) {
	switch {
	case given:
		return []byte(value), nil
	case file != "":
		return fromFile(file)
	}
	return ask()
}

// printKeys says what became of each key.
func (t *tool) printKeys(r admin.ResealResult) {
	for _, k := range r.Keys {
		if k.Error == "" {
			fmt.Fprintf(t.stdout, "%s  new seal\n", k.ID)
		} else {
			fmt.Fprintf(t.stdout, "%s  unchanged: %s\n", k.ID, k.Error)
		}
	}
}
