package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) userPassword() *cobra.Command {
	var r admin.SetPasswordRequest
	var earlier, keyFiles []string
	var keep time.Duration
	c := &cobra.Command{
		Use:   "password -u USER",
		Short: "change a user's login password, and the seals of the keys with it",
		Long: `Change the login password of USER in the passwd-file and, where keys are sealed by it, their
seals, as one: if anything stops halfway, the old password or the new one opens both.
Without a terminal, passwords are read from standard input, a line each: the old one, then
the new one.

Where the present password is not known, --reset does without: only the new one is asked for, and
what opens the keys is given by options. Where nothing opens them the change is refused, unless
--force is given: such keys are set aside, never removed, and the mail that needs them cannot be read
until "cryptokey password" is given what opens them.`,
		Example: `  doveadm-crypt user password -u alice
  doveadm-crypt user password -u alice --reset --force`,
		Args: cobra.NoArgs,
	}
	old := t.secretOption(c, "old-password", "the old password", "Old password")
	fresh := t.secretOption(c, "new-password", "the new password", "New password")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		switch {
		case r.User == "":
			return usage("say whose password, with -u USER")
		case r.Force && !r.Reset:
			return usage("--force goes with --reset")
		}
		defer func() { clear(r.Old); clear(r.New) }()
		if !r.Reset || old.given() {
			if r.Old, err = old.get(cmd.Context(), false); err != nil {
				return err
			}
		}
		if r.Keys, err = t.otherSecrets(earlier, keyFiles, false); err != nil {
			return err
		}
		if r.New, err = fresh.get(cmd.Context(), true); err != nil {
			return err
		}
		r.KeepOld = int64(keep / time.Second)
		var result admin.ResealResult
		err = t.withService(cmd.Context(), func(s admin.Service) error {
			ctx, done := t.progress(cmd.Context())
			defer done()
			result, err = s.SetPassword(ctx, r)
			return err
		})
		if t.format == "json" {
			return errors.Join(t.show(table{}, result), err)
		}
		t.showReseal(result)
		if result.LoginChanged {
			fmt.Fprintf(t.stdout, "Changed the login password of %s; %d key(s) have a new seal\n", clean(r.User), result.Changed())
		}
		return err
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.StringVarP(&r.Scheme, "scheme", "s", "", "`SCHEME` of the login hash")
	f.BoolVar(&r.Reset, "reset", false, "do without the present login password")
	f.BoolVar(&r.Force, "force", false, "with --reset: set keys aside that nothing opens")
	f.StringArrayVar(&earlier, "earlier-password-file", nil, "open keys by the login password in the first line of `FILE` too; may be given again")
	f.StringArrayVar(&keyFiles, "key-file", nil, "open what is sealed to the private key in `FILE`")
	f.DurationVar(&keep, "keep-old", 0, "keep the old seals that long, such as 48h, for \"cryptokey undo\"; 30 days at most")
	return c
}

// otherSecrets are earlier passwords, raw ones or those of logins, and private keys; what was
// read before an error too, for the caller clears it.
func (t *tool) otherSecrets(passwords, keys []string, raw bool) (list []admin.Password, err error) {
	for _, name := range passwords {
		secret, err := t.fromFile(name)
		if err != nil {
			return list, err
		}
		list = append(list, admin.Password{Secret: secret, Login: !raw})
	}
	for _, name := range keys {
		text, err := readKeyFile(name)
		if err != nil {
			return list, err
		}
		list = append(list, admin.Password{Key: text})
	}
	return list, nil
}
