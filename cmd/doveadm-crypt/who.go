package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) who() *cobra.Command {
	var r admin.WhoRequest
	var ids []uint
	c := &cobra.Command{
		Use:   "who [USER|MASK] [ADDRESS|NETWORK]",
		Short: "list who is connected",
		Long: `List the connections of the running daemon, the oldest first, those before login too. In a MASK *
stands for anything; a NETWORK is such as 192.0.2.0/24.`,
		Example: `  doveadm-crypt who
  doveadm-crypt who 'al*' 192.0.2.0/24 --format json
  doveadm-crypt who --id 7`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: t.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := whom(&r, args, ids); err != nil {
				return err
			}
			d, err := t.daemon(cmd.Context())
			if err != nil {
				return err
			}
			defer d.Close()
			result, err := d.Who(cmd.Context(), r)
			if err != nil {
				return err
			}
			return t.showSessions(result)
		},
	}
	c.Flags().UintSliceVar(&ids, "id", nil, "only the session `ID`; may be given again")
	return c
}

// whom sorts out users and addresses.
func whom(r *admin.WhoRequest, args []string, ids []uint) error {
	for _, id := range ids {
		r.IDs = append(r.IDs, uint64(id))
	}
	for _, a := range args {
		_, aerr := netip.ParseAddr(a)
		_, perr := netip.ParsePrefix(a)
		to := &r.User
		if aerr == nil || perr == nil {
			to = &r.Remote
		}
		if *to != "" {
			return usage("%q and %q: give one user and one address at most", *to, a)
		}
		*to = a
	}
	return nil
}

func (t *tool) showSessions(r admin.WhoResult) error {
	tb := table{columns: []column{{title: "ID"}, {title: "User"}, {title: "Service"}, {title: "Address"}, {title: "TLS"}, {title: "Since"}, {title: "Mailbox"}, {title: "Command"}}}
	for _, s := range r.Sessions {
		user := s.User
		if s.Master != "" {
			user += " (by " + s.Master + ")"
		}
		tb.add(strconv.FormatUint(s.ID, 10), user, s.Service, s.Remote, yesNo(s.TLS), s.Since.UTC().Format(time.RFC3339), s.Mailbox, s.Command)
	}
	if len(r.Sessions) == 0 {
		fmt.Fprintln(t.stderr, "nobody")
	}
	return t.show(tb, r)
}
