package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/account"
	"mailcrypt/admin"
	"mailcrypt/config"
	"mailcrypt/internal/system"
	"mailcrypt/userdb"
)

func (t *tool) user() *cobra.Command {
	var field string
	c := &cobra.Command{
		Use:   "user {USER|MASK}",
		Short: "show what holds for a user, or which users there are",
		Long: `Show what holds for USER: the configuration, overlaid by the user's fields. Templates that need the
password of a login, and everything secret, are not shown. With a MASK, in which * stands for
anything, the users are listed.`,
		Example: `  doveadm-crypt user alice
  doveadm-crypt user -f home alice
  doveadm-crypt user '*'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(args[0], "*") {
				return t.listUsers(cmd.Context(), args[0])
			}
			fields, err := t.userFields(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return t.showUser(fields, field)
		},
	}
	c.Flags().StringVarP(&field, "field", "f", "", "print the value of the `FIELD` alone")
	c.AddCommand(t.userAdd(), t.userPassword(), t.userDelete())
	return c
}

// A setting is one line of what holds for a user.
type setting struct{ name, value string }

// userFields resolves a user as a delivery does, without a password.
func (t *tool) userFields(ctx context.Context, name string) ([]setting, error) {
	c, p, err := t.passwdFile()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	u, err := p.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := system.Defaults(c)
	if err != nil {
		return nil, err
	}
	s, err := account.Resolve(d, u, nil)
	if err != nil {
		return nil, err
	}
	defer s.Keys.Password.Clear()
	list := []setting{{"user", s.User}, {"uid", number(s.UID)}, {"gid", number(s.GID)}, {"home", s.Home}, {"mail", s.MailLocation},
		{"mail_attribute_dict", s.AttributeDict}, {"separator", s.Separator}, {"mail_crypt_curve", string(s.Keys.Curve)},
		{"imap_metadata", yesNo(s.Metadata)}}
	for name, err := range map[string]error{"save_error": s.SaveErr, "read_error": s.ReadErr} {
		if err != nil {
			list = append(list, setting{name, err.Error()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.Fields)) {
		value := u.Fields[name]
		if isSecret(name) {
			value = "[hidden]"
		}
		if !slices.ContainsFunc(list, func(s setting) bool { return s.name == name }) {
			list = append(list, setting{name, value})
		}
	}
	return list, nil
}

func number(n int) string {
	if n < 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// isSecret reports whether a field may hold a secret. A public key is none.
func isSecret(name string) bool {
	n := strings.ToLower(name)
	return slices.ContainsFunc([]string{"pass", "private", "secret", "token"}, func(s string) bool { return strings.Contains(n, s) }) ||
		strings.HasSuffix(n, "key") && !strings.Contains(n, "public")
}

func (t *tool) showUser(fields []setting, only string) error {
	if only != "" {
		for _, f := range fields {
			if f.name == only {
				_, err := fmt.Fprintln(t.stdout, clean(f.value))
				return err
			}
		}
		return usage("user %s has no field %s", fields[0].value, clean(only))
	}
	tb := table{columns: []column{{title: "field"}, {title: "value"}}}
	object := map[string]string{}
	for _, f := range fields {
		object[f.name] = f.value
		if f.value != "" {
			tb.add(f.name, f.value)
		}
	}
	return t.show(tb, object)
}

func (t *tool) listUsers(ctx context.Context, mask string) error {
	s, err := t.service(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.ListUsers(ctx, admin.ListUsersRequest{Mask: mask})
	if err != nil {
		return err
	}
	if t.format == "json" {
		return t.show(table{}, r)
	}
	for _, u := range r.Users {
		if u.Error != "" {
			t.complain(u.Name, fmt.Errorf("%w: %s", admin.ErrTemporary, u.Error))
			continue
		}
		fmt.Fprintln(t.stdout, clean(u.Name))
	}
	return nil
}

// passwdFile opens the user database itself, which the daemon watches.
func (t *tool) passwdFile() (*config.Config, *userdb.PasswdFile, error) {
	c, log, err := t.load()
	if err != nil {
		return nil, nil, err
	}
	p, err := system.OpenUsers(c, userdb.Options{Log: log, NoWatch: true})
	return c, p, err
}
