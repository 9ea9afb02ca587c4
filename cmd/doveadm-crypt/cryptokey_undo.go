package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyUndo() *cobra.Command {
	var r admin.UndoResealRequest
	c := &cobra.Command{
		Use:   "undo -u USER",
		Short: "put back the seals from before a change of the password",
		Long: `Put the old seals of USER back that a change of the password has kept, because of --keep-old.
The password from before the change opens the keys again; the login password is not changed back.

With --forget the old seals are removed before their time instead: while they are kept, who gets at
the dictionary can try the old password on them.`,
		Example: `  doveadm-crypt cryptokey password -u alice --keep-old 1h; doveadm-crypt cryptokey undo -u alice`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				result, err := s.UndoReseal(cmd.Context(), r)
				return errors.Join(t.showEnded(result), err)
			})
		},
	}
	t.userOption(c, &r.User)
	c.Flags().BoolVar(&r.Forget, "forget", false, "remove the old seals instead")
	return c
}
