package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// mailboxGen is the flags of Dovecot's generate.
type mailboxGen struct {
	t       *tool
	users   *someUsers
	secrets *keySecrets
	userKey bool
	force   bool
	reEncr  bool
	mask    string
}

func (t *tool) mailboxGenerate() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate {-u USER|-A|-F FILE} [-U] [-f] [-R] [MASK]",
		Short: "make keys, in Dovecot's form",
		Long: `Make the user key where there is none, and with -U nothing else; and keys for the folders that MASK
means, with the wildcards * and %. Keys that are there are printed again, unless -f asks for new ones.
Columns: a mark, Folder, Public ID (success, box, pubid).

With -R all folder keys are put under the active user key, which Dovecot's option promises and does
not do. No folder key is made anew then, with -f neither.`,
		Example: `  doveadm-crypt mailbox cryptokey generate -u alice INBOX
  doveadm-crypt mailbox cryptokey generate -u alice -U
  doveadm-crypt mailbox cryptokey generate -u alice -URf`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	g := &mailboxGen{t: t, users: t.someUsers(c), secrets: t.keySecrets(c)}
	g.secrets.seals = true
	f := c.Flags()
	f.BoolVarP(&g.userKey, "user-key-only", "U", false, "the user key only")
	f.BoolVarP(&g.force, "force", "f", false, "make a new key where there is one")
	f.BoolVarP(&g.reEncr, "re-encrypt-box-keys", "R", false, "put all folder keys under the active user key")
	c.RunE = g.run
	return c
}

func (g *mailboxGen) run(cmd *cobra.Command, args []string) (err error) {
	if g.mask, err = oneMask(args); err != nil {
		return err
	}
	defer g.secrets.clear()
	if err := g.secrets.options(cmd.Context()); err != nil {
		return err
	}
	tb := table{columns: g.users.columns(column{name: "success", title: "  "}, column{name: "box", title: "Folder"}, column{name: "pubid", title: "Public ID"})}
	err = g.users.each(cmd.Context(), func(s admin.Service, user string) error {
		n := len(tb.rows)
		err := g.one(cmd.Context(), s, user, &tb)
		if len(tb.rows) == n && err == nil {
			g.t.tell(user, "Warning", "mailbox cryptokey generate: Nothing was matched. Use -U or specify mask?")
		}
		return err
	})
	if len(tb.rows) == 0 && err != nil {
		return err
	}
	return errors.Join(g.t.showAs(tb, g.t.dovecotFormat("table")), err)
}

// one does it for one user.
func (g *mailboxGen) one(ctx context.Context, s admin.Service, user string, tb *table) error {
	row := func(k admin.KeyRef, failed string) {
		mark, folder, id := "✓", k.Folder, k.ID
		if k.User {
			folder = "<userkey>"
		}
		if failed != "" {
			mark, id = "x", "ERROR: "+failed
		}
		tb.add(g.users.row(user, mark, folder, id)...)
	}
	r := admin.GenerateRequest{User: user, UserKey: g.userKey, Force: g.force}
	if g.mask != "" && !g.userKey && !g.reEncr {
		r.Folders = []string{g.mask}
	}
	if r.UserKey || r.Folders != nil {
		result, err := g.t.generate(ctx, s, r, g.secrets)
		for _, k := range result.Keys {
			row(k.KeyRef, plainText(k.Error))
			switch {
			case k.Made || k.Error != "":
			case k.User:
				g.t.tell(user, "Info", "userkey exists. Use -f to generate a new one")
			default:
				g.t.tell(user, "Info", fmt.Sprintf("Mailbox %s: Folder key exists. Use -f to generate a new one", clean(k.Folder)))
			}
		}
		if err != nil {
			return err
		}
	}
	if !g.reEncr {
		return nil
	}
	result, err := g.t.rewrap(ctx, s, admin.RewrapRequest{User: user}, g.secrets)
	for _, k := range result.Keys {
		row(k.KeyRef, plainText(k.Error))
	}
	return err
}
