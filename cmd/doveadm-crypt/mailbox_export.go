package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) mailboxExport() *cobra.Command {
	var userKeys bool
	c := &cobra.Command{
		Use:   "export {-u USER|-A|-F FILE} {-U|MASK}",
		Short: "give out keys unsealed, in Dovecot's form",
		Long: `Print private keys as PEM, not sealed: the user keys, with -U, or the keys of the folders that MASK
means, with the wildcards * and %. Whoever gets at the output reads the mail.
Columns: Folder, Public ID, Error, Key (box, name, error, key). Unlike Dovecot's, a key is in its own
column, and the exit status is 65 where one could not be opened.`,
		Example: `  doveadm-crypt mailbox cryptokey export -u alice -U
  doveadm-crypt -f json mailbox cryptokey export -u alice INBOX`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	u := t.someUsers(c)
	k := t.keySecrets(c)
	c.Flags().BoolVarP(&userKeys, "user-key", "U", false, "the user keys")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		mask, err := oneMask(args)
		if err != nil {
			return err
		}
		defer k.clear()
		if err := k.options(cmd.Context()); err != nil {
			return err
		}
		tb := table{columns: u.columns(column{name: "box", title: "Folder"}, column{name: "name", title: "Public ID"}, column{name: "error", title: "Error"}, column{name: "key", title: "Key", raw: true})}
		err = u.each(cmd.Context(), func(s admin.Service, user string) error {
			r := admin.ExportRequest{User: user, Clear: true, Format: "pem", Selection: admin.Selection{UserKeys: userKeys}}
			if !userKeys {
				if mask == "" {
					return nil // Dovecot: nothing is meant
				}
				r.Folders = []string{mask}
			}
			result, err := t.export(cmd.Context(), s, r, k)
			for _, key := range result.Keys {
				folder, failed, pem := key.Folder, "", ""
				if key.User {
					folder = ""
				}
				if key.Error != "" {
					failed = "ERROR: " + key.Error
				} else {
					pem = "\n" + string(key.Private)
				}
				clear(key.Private)
				tb.add(u.row(user, folder, key.ID, failed, pem)...)
			}
			if errors.Is(err, admin.ErrNoKey) {
				return nil
			}
			return err
		})
		if len(tb.rows) == 0 && err != nil {
			return err
		}
		return errors.Join(t.showAs(tb, t.dovecotFormat("pager")), err)
	}
	return c
}
