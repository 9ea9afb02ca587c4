package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) mailboxList() *cobra.Command {
	var userKeys bool
	c := &cobra.Command{
		Use:   "list {-u USER|-A|-F FILE} {-U|MASK}",
		Short: "list keys, in Dovecot's form",
		Long: `List the user keys, with -U, or the keys of the folders that MASK means, with the wildcards * and %.
Columns: Folder, Active, Public ID (box, active, pubid).`,
		Example: `  doveadm-crypt mailbox cryptokey list -u alice -U
  doveadm-crypt -f json mailbox cryptokey list -u alice '*'
  doveadm-crypt -f tab mailbox cryptokey list -A '*'`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	u := t.someUsers(c)
	c.Flags().BoolVarP(&userKeys, "user-key", "U", false, "the user keys")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		mask, err := oneMask(args)
		if err != nil {
			return err
		}
		tb := table{columns: u.columns(column{name: "box", title: "Folder"}, column{name: "active", title: "Active"}, column{name: "pubid", title: "Public ID"})}
		err = u.each(cmd.Context(), func(s admin.Service, user string) error {
			r := admin.ListRequest{User: user, Selection: admin.Selection{UserKeys: userKeys}}
			if !userKeys && mask != "" {
				r.Folders = []string{mask}
			}
			var list admin.ListResult
			if userKeys || mask != "" {
				var err error
				if list, err = s.List(cmd.Context(), r); err != nil {
					return err
				}
			}
			n := len(tb.rows)
			for _, k := range list.Keys {
				// Dovecot lists private keys that are stored, by name; a key set aside is none.
				if k.State == "" && k.Seal.By != "missing" {
					folder := k.Folder
					if k.User {
						folder = ""
					}
					tb.add(u.row(user, folder, yesNo(k.Active), k.ID)...)
				}
			}
			if len(tb.rows) == n {
				t.tell(user, "Warning", "mailbox cryptokey list: Nothing was matched. Use -U or specify mask?")
			}
			return nil
		})
		if len(tb.rows) == 0 && err != nil {
			return err
		}
		return errors.Join(t.showAs(tb, t.dovecotFormat("table")), err)
	}
	return c
}
