package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/userdb"
)

func (t *tool) userAdd() *cobra.Command {
	var scheme string
	var fields []string
	u := userdb.User{UID: -1, GID: -1, Fields: map[string]string{}}
	c := &cobra.Command{
		Use:   "add USER",
		Short: "add a user to the passwd-file",
		Long: `Add USER to the passwd-file; a running daemon takes notice. The password is asked for. The home
is made at the first login or delivery, and keys at the first login.`,
		Example:           `  doveadm-crypt user add carol --field mail_crypt_save_version=2 --field quota_rule='*:storage=1G'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	secret := t.secretOption(c, "password", "the password", "Password")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		u.Name = args[0]
		for _, f := range fields {
			name, value, ok := strings.Cut(f, "=")
			if !ok {
				value = "yes"
			}
			u.Fields[strings.TrimPrefix(name, "userdb_")] = value
		}
		_, p, err := t.passwdFile()
		if err != nil {
			return err
		}
		defer p.Close()
		password, err := secret.get(cmd.Context(), true)
		if err != nil {
			return err
		}
		defer clear(password)
		if len(password) == 0 {
			return usage("the password is empty")
		}
		hash, err := userdb.HashPassword(scheme, password)
		if err != nil {
			return fmt.Errorf("%w: %w", admin.ErrUsage, err)
		}
		if err := p.Add(cmd.Context(), u, hash); err != nil {
			return fmt.Errorf("user %s: %w", u.Name, err)
		}
		_, err = fmt.Fprintf(t.stdout, "Added %s\n", clean(u.Name))
		return err
	}
	f := c.Flags()
	f.StringVarP(&scheme, "scheme", "s", "", "`SCHEME` of the login hash, such as ARGON2ID, BLF-CRYPT or SHA512-CRYPT")
	f.StringVar(&u.Home, "home", "", "home `DIRECTORY`, instead of mail_home")
	f.IntVar(&u.UID, "uid", -1, "owner of the user's files")
	f.IntVar(&u.GID, "gid", -1, "group of the user's files")
	f.StringArrayVar(&fields, "field", nil, "a setting of the user's own, as `NAME=VALUE`; may be given again")
	return c
}
