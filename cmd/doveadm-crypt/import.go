package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "import",
		Short:   "take over mail stores that Dovecot has written",
		Long:    `Take over mail stores that Dovecot has written. A Maildir needs none of this: it is used as it is.`,
		Example: "  doveadm-crypt import --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.importMdbox())
	return c
}

func (t *tool) importMdbox() *cobra.Command {
	var r admin.ImportStoreRequest
	c := &cobra.Command{
		Use:     "mdbox -u USER [PATH]",
		Aliases: []string{"sdbox"},
		Short:   "take over an mdbox or sdbox store of Dovecot's",
		Long: `Take over the mdbox store that Dovecot has written for USER, whose mail_location here is mdbox too; or,
as "import sdbox", an sdbox store, whose messages are written into files of mdbox with their stored bytes.

Folders, UIDs, UIDVALIDITYs, flags, keywords, modseqs, dates, GUIDs, copies and subscriptions stay as they
are, and so do the keys, if mail_attribute_dict is the dictionary that Dovecot has used ("dict copy"
takes it into another one). Dovecot must be stopped for the user, which is looked at. Killed at any
moment, either nothing has changed or all is done. Messages that are damaged are named, and taken along. Sessions
of the user are ended.

PATH is the root of Dovecot's store, or its mail_location; without it the store is where the user's
mail_location is, and is taken over there: Dovecot's indexes are put aside, into dovecot-indexes.TIME.
With another PATH the messages are copied, and Dovecot's store stays as it is.`,
		Example: `  doveadm-crypt export mdbox -u dora
  doveadm-crypt import mdbox -u dora --dry-run
  doveadm-crypt import mdbox -u dora`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
	k := t.keySecrets(c)
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) > 0 {
			if r.From, err = storePath(args[0]); err != nil {
				return err
			}
		}
		r.Format = cmd.CalledAs()
		return t.forUser(cmd.Context(), r.User, k, func(s admin.Service) error {
			var result admin.HandoverResult
			err = k.call(cmd.Context(), func(ctx context.Context, secrets []admin.Password) error {
				r.Secrets = secrets
				result, err = s.ImportStore(ctx, r)
				return err
			})
			return t.showHandover(result, err)
		})
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and change nothing")
	f.BoolVar(&r.Force, "force", false, "do not mind that other programs have the store open")
	f.BoolVar(&r.Lossy, "lossy", false, "go on without messages that are in no file any more")
	f.BoolVar(&r.Link, "link", false, "from another place: make hard links instead of copies; Dovecot must not use its store any more then")
	f.BoolVar(&r.Verify, "verify", false, "open every message afterwards; asks for the password that seals the user keys")
	return c
}

// storePath makes a path absolute, for the daemon is elsewhere.
func storePath(arg string) (string, error) {
	if strings.HasPrefix(arg, "mdbox:") || strings.HasPrefix(arg, "sdbox:") {
		return arg, nil
	}
	return filepath.Abs(arg)
}

// showHandover shows what was done, also beside an error.
func (t *tool) showHandover(r admin.HandoverResult, err error) error {
	if r.To == "" {
		return err
	}
	tb := table{columns: []column{{name: "what", title: "Result"}, {name: "count", title: "Count"}, {name: "where", title: "Where"}}}
	for _, f := range r.Folders {
		tb.add("messages", strconv.Itoa(f.Messages), f.Folder)
	}
	tb.add("all messages", strconv.Itoa(r.Messages), "")
	tb.add("stored messages", strconv.Itoa(r.Stored), r.To)
	tb.add("message files", strconv.Itoa(r.Files), "")
	if r.Expunged > 0 {
		tb.add("expunged, for a purge", strconv.Itoa(r.Expunged), "")
	}
	if r.Verified > 0 {
		tb.add("opened", strconv.Itoa(r.Verified), "")
	}
	for _, list := range []struct {
		what     string
		messages []admin.HandoverMessage
	}{{"damaged", r.Damaged}, {"found by GUID", r.Found}, {"lost", r.Lost}, {"with attachments elsewhere", r.Attachments}, {"unreadable", r.Unreadable}} {
		for _, m := range list.messages {
			tb.add(list.what, "1", fmt.Sprintf("%s UID %d: %s", m.Folder, m.UID, plainText(m.Reason)))
		}
	}
	for _, n := range r.Notes {
		tb.add("note", "1", plainText(n))
	}
	if r.Aside != "" {
		tb.add("put aside", "1", r.Aside)
	}
	if serr := t.show(tb, r); serr != nil {
		return serr
	}
	return err
}
