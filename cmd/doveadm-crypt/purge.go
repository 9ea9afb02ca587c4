package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) purge() *cobra.Command {
	c := &cobra.Command{
		Use:   "purge {-u USER|-A|-F FILE}",
		Short: "give back the space of expunged mail in mdbox",
		Long: `Give back the space of mail that was expunged from an mdbox store: what else is in its files is
copied into others, and the files are removed. Mail is read and delivered meanwhile. A file in which there
is more than the catalog knows is left as it is, and named; force-resync takes in what is there.

Run it for all users every night, as with Dovecot; for users of Maildir it does nothing.`,
		Example: `  doveadm-crypt purge -u dora
  doveadm-crypt --format json purge -u dora`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	u := t.someUsers(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return t.moved(cmd, u, func(s admin.Service, user string) (admin.MoveResult, error) {
			return s.Purge(cmd.Context(), admin.PurgeRequest{User: user})
		})
	}
	return c
}

// moved moves messages of users between files, and shows what that did.
func (t *tool) moved(cmd *cobra.Command, u *someUsers, move func(admin.Service, string) (admin.MoveResult, error)) error {
	tb := table{columns: u.columns(column{name: "files", title: "Files removed"}, column{name: "expunged", title: "Expunged"}, column{name: "freed", title: "Bytes freed"},
		column{name: "messages", title: "Moved"}, column{name: "bytes", title: "Bytes moved"})}
	results := map[string]admin.MoveResult{}
	err := u.each(cmd.Context(), func(s admin.Service, user string) error {
		r, err := move(s, user)
		if err == nil || r.Files > 0 {
			tb.add(u.row(user, strconv.Itoa(r.Files), strconv.Itoa(r.Expunged), strconv.FormatUint(r.Freed, 10), strconv.Itoa(r.Messages), strconv.FormatUint(r.Bytes, 10))...)
			results[user] = r
		}
		for _, f := range r.Left {
			t.tell(user, "Warning", fmt.Sprintf("%s was left: %s", f.File, plainText(f.Reason)))
		}
		return err
	})
	if len(results) == 0 {
		return err
	}
	return errors.Join(t.show(tb, results), err)
}
