package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyRetire() *cobra.Command {
	var r admin.RetireRequest
	c := &cobra.Command{
		Use:   "retire -u USER {ID...|--unneeded}",
		Short: "destroy keys that nothing needs any more",
		Long: `Destroy keys of USER: those with the IDs given, or every key that is not active and that nothing
needs. The headers of all messages are read to find that out. A key that a message or another key needs
is left, and so is one that was active a moment ago.

For a key that is needed a code is printed: with --confirm CODE it is destroyed all the same, and the
mail that needs it is lost. Mail in backups needs its keys too: they are in the backup of that time.`,
		Example: `  doveadm-crypt cryptokey retire -u alice --unneeded --dry-run
  doveadm-crypt cryptokey retire -u alice --unneeded`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, ids []string) error {
			r.IDs = ids
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				ctx, done := t.progress(cmd.Context())
				result, err := s.Retire(ctx, r)
				done()
				return errors.Join(t.showRetired(result), err)
			})
		},
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVar(&r.Unneeded, "unneeded", false, "every key that can go")
	f.BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and do nothing")
	f.StringVar(&r.Confirm, "confirm", "", "destroy the one key named although it is needed, by the `CODE` that was printed")
	return c
}

func (t *tool) showRetired(r admin.RetireResult) error {
	tb := table{columns: []column{{title: "Folder"}, {title: "Key"}, {title: "Result"}, {title: "Messages"}, {title: "Remarks"}}}
	for _, k := range r.Keys {
		code := ""
		if k.Confirm != "" {
			code = "to lose what needs it: --confirm " + k.Confirm
		}
		tb.add(place(k.KeyRef), k.ID, k.Done, strconv.FormatInt(k.Messages, 10), join(plainText(k.Error), code))
	}
	if err := t.show(tb, r); err != nil {
		return err
	}
	if len(r.Keys) == 0 && r.Scan != nil {
		fmt.Fprintln(t.stderr, "no key can go")
	}
	return nil
}
