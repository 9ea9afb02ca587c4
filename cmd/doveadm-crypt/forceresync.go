package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) forceResync() *cobra.Command {
	var r admin.ResyncRequest
	c := &cobra.Command{
		Use:   "force-resync -u USER",
		Short: "make the catalog of an mdbox store anew",
		Long: `Make the catalog of USER's mdbox store anew: from the message files, from what can be read of the old
catalog, and from the names of folders that are kept beside the keys. For a catalog that is damaged or lost,
or message files that were damaged or restored. No message file is changed; an old catalog of which
something could not be used is put aside. Nobody may be using the mail meanwhile: "kick" ends sessions.

Messages keep their folders, flags and UIDs where the old catalog tells them, and go into the folder
of their first save where it does not; expunged ones come back then. Folders keep their keys. A
folder of which UIDs were lost gets a new UIDVALIDITY, and clients load it anew.

A folder may be named, as with Dovecot; it makes no difference.`,
		Example: `  doveadm-crypt force-resync -u dora --dry-run
  doveadm-crypt force-resync -u dora`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				result, err := s.Resync(cmd.Context(), r)
				if err != nil {
					return err
				}
				return t.showResync(result)
			})
		},
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVar(&r.DryRun, "dry-run", false, "say what would be found, and change nothing")
	f.BoolVar(&r.Restored, "restored", false, "the catalog is from an older backup than the messages: every folder gets a new UIDVALIDITY")
	f.BoolVar(&r.FilesOnly, "files-only", false, "take the messages of a store that Dovecot has written, without their flags")
	return c
}

func (t *tool) showResync(r admin.ResyncResult) error {
	tb := table{columns: []column{{name: "what", title: "Result"}, {name: "count", title: "Count"}, {name: "where", title: "Where"}}}
	add := func(what string, n int, where string) {
		if n > 0 {
			tb.add(what, strconv.Itoa(n), where)
		}
	}
	tb.add("message files read", strconv.Itoa(r.Files), "")
	tb.add("messages found", strconv.Itoa(r.Found), "")
	tb.add("folders", strconv.Itoa(r.Folders), "")
	tb.add("messages kept with UID and flags", strconv.Itoa(r.Kept), "")
	add("expunged, for a purge", r.Expunged, "")
	add("twice there, for a purge", r.Duplicates, "")
	for _, p := range r.Placed {
		add("of unknown folder, new", p.Messages, p.Folder)
	}
	for _, p := range r.Missing {
		add("lost: in no file", p.Messages, p.Folder)
	}
	add("lost copies", r.LostCopies, "")
	for _, list := range []struct {
		what  string
		names []string
	}{{"folder with a new GUID", r.Created}, {"folder with a new UIDVALIDITY", r.NewUIDValidity}, {"folder whose name was lost", r.Nameless},
		{"file with a new name", r.Renumbered}, {"unreadable in the old catalog", r.Unreadable}} {
		for _, name := range list.names {
			add(list.what, 1, plainText(name))
		}
	}
	for _, d := range r.Damaged {
		add("damaged bytes", int(d.Bytes), fmt.Sprintf("%s at %d: %s", d.File, d.Offset, plainText(d.Reason)))
	}
	add("messages without a GUID", r.NoGUID, "")
	add("unreadable: parts are in Dovecot's attachment directory", r.Attachments, "")
	if r.OldCatalog != "" {
		add("old catalog put aside", 1, r.OldCatalog)
	}
	if err := t.show(tb, r); err != nil {
		return err
	}
	if r.NoCatalog {
		fmt.Fprintln(t.stderr, "there was no catalog: flags are lost, and expunged messages may be back")
	}
	return nil
}
