package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) kick() *cobra.Command {
	var r admin.WhoRequest
	var ids []uint
	c := &cobra.Command{
		Use:   "kick {USER|MASK|ADDRESS|NETWORK|--id ID}",
		Short: "end connections",
		Long: `End connections of the running daemon, each after the command under way: those of a USER, or of a
MASK, in which * stands for anything, or from an ADDRESS or NETWORK. With a user and an address both
must fit. Clients connect again, unless they are kept from it: change the password first.
The exit status is 68 where nobody was connected.`,
		Example: `  doveadm-crypt kick alice
  doveadm-crypt kick 192.0.2.0/24
  doveadm-crypt kick --id 7`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: t.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := whom(&r, args, ids); err != nil {
				return err
			}
			if r.User == "" && r.Remote == "" && len(r.IDs) == 0 {
				return usage("say whom: a user, an address or network, or --id ID; '*' is everybody")
			}
			d, err := t.daemon(cmd.Context())
			if err != nil {
				return err
			}
			defer d.Close()
			result, err := d.Kick(cmd.Context(), admin.KickRequest(r))
			if err != nil {
				return err
			}
			if err := t.showSessions(result); err != nil {
				return err
			}
			if len(result.Sessions) == 0 {
				return reported(exitNotFound) // Dovecot's "not found"
			}
			fmt.Fprintf(t.stderr, "%d connections ended\n", len(result.Sessions))
			return nil
		},
	}
	c.Flags().UintSliceVar(&ids, "id", nil, "the session `ID`, as \"who\" lists it; may be given again")
	return c
}
