package main

import (
	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "export",
		Short:   "hand mail stores to Dovecot",
		Long:    `Hand mail stores to Dovecot. A Maildir needs none of this: Dovecot uses it as it is.`,
		Example: "  doveadm-crypt export --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.exportMdbox())
	return c
}

func (t *tool) exportMdbox() *cobra.Command {
	var r admin.ExportStoreRequest
	c := &cobra.Command{
		Use:   "mdbox -u USER [PATH]",
		Short: "hand an mdbox store to Dovecot",
		Long: `Hand USER's mdbox store to Dovecot: its indexes are written, with which it opens the store without a
resync, with all folders, UIDs, UIDVALIDITYs, flags, keywords, modseqs, dates, GUIDs, copies and
subscriptions. The catalog is put aside, into mailcryptd-catalog.TIME, and the store is refused here
until "import mdbox" takes it back. Where it is killed nothing has changed, or all is done. Sessions of
the user are ended.

With PATH, which must be missing or empty, a new store of Dovecot's is made there, with copies of the
messages, and the user's own stays as it is.

The keys are in the dictionary: give Dovecot the same one, or what "dict copy" makes of it.`,
		Example: `  doveadm-crypt export mdbox -u dora --dry-run
  doveadm-crypt export mdbox -u dora copy-for-dovecot
  doveadm-crypt export mdbox -u dora`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				if r.To, err = storePath(args[0]); err != nil {
					return err
				}
			}
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				ctx, done := t.progress(cmd.Context())
				result, err := s.ExportStore(ctx, r)
				done()
				return t.showHandover(result, err)
			})
		},
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and change nothing")
	f.BoolVar(&r.Lossy, "lossy", false, "go on without messages whose files are not there")
	return c
}
