package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) mailboxPassword() *cobra.Command {
	c := &cobra.Command{
		Use:   "password {-u USER|-A|-F FILE} [-o OLD|-O] [-n NEW|-N] [-C]",
		Short: "give a user's keys a new password, in Dovecot's form",
		Long: resealLong + `

Nothing is changed where one of the keys does not open. Unlike Dovecot, keys are left without a
password only where -C asks for that.`,
		Example: `  doveadm-crypt mailbox cryptokey password -u alice -O -N
  doveadm-crypt mailbox cryptokey password -u alice -o "$OLD" -n "$NEW"`,
		Args: cobra.NoArgs,
	}
	u := t.someUsers(c)
	r := t.resealFlags(c)
	r.all = true
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		tb := table{columns: u.columns(column{name: "result", title: "result"})}
		q, forget, err := r.request(cmd)
		defer forget()
		if err != nil {
			tb.add(u.row("", resealText(admin.ResealResult{}, err))...)
			return errors.Join(t.showAs(tb, t.dovecotFormat("pager")), err)
		}
		err = u.each(cmd.Context(), func(s admin.Service, user string) error {
			result, err := r.one(cmd.Context(), s, user, q)
			if !errors.Is(err, admin.ErrNoUser) { // Dovecot: whoever is not there has no row
				tb.add(u.row(user, resealText(result, err))...)
			}
			return err
		})
		if len(tb.rows) == 0 {
			return err
		}
		return errors.Join(t.showAs(tb, t.dovecotFormat("pager")), err)
	}
	return c
}

// resealText is Dovecot's one line of what became of a user's keys.
func resealText(r admin.ResealResult, err error) string {
	if err == nil {
		return fmt.Sprintf("Changed password for %d key(s)", r.Changed())
	}
	for _, k := range r.Keys {
		if k.Error != "" {
			return clean(fmt.Sprintf("dcrypt_key_load_private(%s) failed: %s", k.ID, plainText(k.Error)))
		}
	}
	return clean(strings.TrimPrefix(strings.TrimPrefix(err.Error(), admin.ErrUsage.Error()+": "), "admin: "))
}
