package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/account"
	"mailcrypt/config"
	"mailcrypt/internal/system"
	"mailcrypt/userdb"
)

func checkCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check-config",
		Short: "read the configuration and the user database, say what is wrong, touch nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(path)
			if err != nil {
				return &statusError{exitConfig, err}
			}
			warnings, err := check(cmd.Context(), c)
			for _, w := range warnings {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", w)
			}
			if err != nil {
				return &statusError{exitConfig, err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", c.Path)
			return nil
		},
	}
	configFlag(c, &path)
	return c
}

// check looks at everything that a configuration names. It opens nobody's mail.
func check(ctx context.Context, c *config.Config) (warnings []string, err error) {
	defaults, err := system.Defaults(c)
	if err != nil {
		return nil, err
	}
	if _, err := system.TLS(c); err != nil {
		return nil, err
	}
	users, err := userdb.OpenPasswdFile(c.UserDB.PasswdFile, userdb.Options{UsernameFormat: c.Auth.UsernameFormat})
	if err != nil {
		return nil, err
	}
	defer users.Close()
	if c.Auth.MasterPasswdFile != "" {
		masters, err := userdb.OpenPasswdFile(c.Auth.MasterPasswdFile, userdb.Options{UsernameFormat: c.Auth.UsernameFormat})
		if err != nil {
			return nil, err
		}
		defer masters.Close()
	}
	if len(slices.Concat(c.IMAP.Listen, c.IMAP.TLSListen, c.LMTP.Listen, c.IMAP.ProxyListen, c.IMAP.ProxyTLSListen, c.LMTP.ProxyListen)) == 0 {
		warnings = append(warnings, "nothing is listened on: set [imap] listen, tls_listen or [lmtp] listen")
	}
	if w := system.KeyExposed(c); w != "" {
		warnings = append(warnings, w)
	}
	var errs []error
	for u, err := range users.Users(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s, err := account.Resolve(defaults, u, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s.SaveErr != nil {
			errs = append(errs, s.SaveErr)
		}
		if s.ReadErr != nil {
			errs = append(errs, s.ReadErr)
		}
		if err := system.CheckUser(u); err != nil {
			errs = append(errs, err)
		}
		if w := rivalDictionary(s); w != "" {
			warnings = append(warnings, w)
		}
	}
	return warnings, errors.Join(errs...)
}

// rivalDictionary warns where Dovecot's keys lie beside a bolt dictionary: two programs
// would make two sets of keys.
func rivalDictionary(s account.Settings) string {
	if !strings.HasPrefix(s.AttributeDict, "bolt:") {
		return ""
	}
	for _, dir := range []string{"", "Maildir", "mail"} {
		p := filepath.Join(s.Home, dir, "dovecot-attributes")
		if _, err := os.Stat(p); err == nil {
			return fmt.Sprintf("user %s: keys are in %s, but %s of Dovecot's lies there too; set mail_attribute_dict to file:%s, or Dovecot and mailcryptd use different keys", s.User, s.AttributeDict, p, p)
		}
	}
	return ""
}
