package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) mailboxPassword() *cobra.Command {
	c := &cobra.Command{
		Use:   "password -u USER [-o OLD|-O] [-n NEW|-N] [-C]",
		Short: "give a user's keys a new password, in Dovecot's form",
		Long: resealLong + `

Nothing is changed where one of the keys does not open. Unlike Dovecot, keys are left without a
password only where -C asks for that.`,
		Example: `  doveadm-crypt mailbox cryptokey password -u alice -O -N
  doveadm-crypt mailbox cryptokey password -u alice -o "$OLD" -n "$NEW"`,
		Args: cobra.NoArgs,
	}
	r := t.resealFlags(c)
	r.all = true
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := r.run(cmd)
		text := fmt.Sprintf("Changed password for %d key(s)", result.Changed())
		if err != nil {
			text = strings.TrimPrefix(err.Error(), "admin: ")
			for _, k := range result.Keys {
				if k.Error != "" {
					text = fmt.Sprintf("dcrypt_key_load_private(%s) failed: %s", k.ID, plainText(k.Error))
					break
				}
			}
		}
		tb := table{columns: []column{{name: "result", title: "result"}}}
		tb.add(clean(text))
		return errors.Join(t.showAs(tb, t.dovecotFormat("pager")), err)
	}
	return c
}
