package main

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) daemonStatus() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "say whether the daemon runs",
		Long:    "Say whether the daemon runs, and which. The exit status is 0 if it does, and 69 if nobody answers.",
		Example: "  doveadm-crypt status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := t.daemon(cmd.Context())
			if err != nil {
				return err
			}
			defer d.Close()
			st, err := d.Status(cmd.Context())
			if err != nil {
				return err
			}
			tb := table{columns: []column{{title: "field"}, {title: "value"}}}
			tb.add("pid", strconv.Itoa(st.PID))
			tb.add("version", st.Version)
			tb.add("protocol", strconv.Itoa(st.Protocol))
			if st.Started != 0 {
				tb.add("started", time.Unix(st.Started, 0).UTC().Format(time.RFC3339))
			}
			if st.Sessions != 0 {
				tb.add("sessions", strconv.Itoa(st.Sessions))
			}
			return t.show(tb, st)
		},
	}
}

// daemon connects to the daemon, and to nothing else.
func (t *tool) daemon(ctx context.Context) (admin.Service, error) {
	c, _, err := t.load()
	if err != nil {
		return nil, err
	}
	d, err := admin.Dial(ctx, filepath.Join(c.StateDir, admin.SocketName))
	if err != nil {
		return nil, err // not a nil *admin.Client
	}
	return d, nil
}
