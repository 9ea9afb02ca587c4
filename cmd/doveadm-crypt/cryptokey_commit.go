package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyCommit() *cobra.Command {
	var r admin.EndResealRequest
	var abandon bool
	var keep time.Duration
	c := &cobra.Command{
		Use:   "commit -u USER TOKEN",
		Short: "make seals count that \"cryptokey password --prepare\" stored",
		Long: `Make the seals of USER count that "cryptokey password --prepare" has stored and named by TOKEN, or
forget them with --abandon. Either may be asked for again.

Where a login with the new password has made them count already, there is nothing left to do, and
--abandon fails (exit status 65): change the password once more to have the old one back.`,
		Example:           `  token=$(doveadm-crypt cryptokey password -u alice --prepare | sed -n 's/^token: //p'); doveadm-crypt cryptokey commit -u alice "$token"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Token, r.Commit, r.KeepOld = args[0], !abandon, int64(keep/time.Second)
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				result, err := s.EndReseal(cmd.Context(), r)
				return errors.Join(t.showEnded(result), err)
			})
		},
	}
	t.userOption(c, &r.User)
	c.Flags().BoolVar(&abandon, "abandon", false, "forget the new seals; the old ones stay in force")
	c.Flags().DurationVar(&keep, "keep-old", 0, "keep the old seals that long, such as 48h, for \"cryptokey undo\"; 30 days at most")
	return c
}

func (t *tool) showEnded(r admin.ResealResult) error {
	if t.format == "json" {
		return t.show(table{}, r)
	}
	t.showReseal(r)
	return nil
}
