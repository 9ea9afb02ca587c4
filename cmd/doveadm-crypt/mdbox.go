package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) mdbox() *cobra.Command {
	c := &cobra.Command{
		Use:     "mdbox",
		Short:   "look into mdbox stores",
		Long:    `Look into mdbox stores. Their maintenance is "purge", "altmove" and "force-resync".`,
		Example: "  doveadm-crypt mdbox --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.mdboxStat())
	return c
}

func (t *tool) mdboxStat() *cobra.Command {
	var r admin.StoreStatRequest
	c := &cobra.Command{
		Use:   "stat -u USER",
		Short: "tell what is in an mdbox store, by file",
		Long: `Tell what is in the message files of USER's mdbox store: how many messages and bytes are live, how many
are expunged and wait for a purge, and whether each file is what the catalog says. States: ok; tail, with
bytes behind those that are known; short; missing; unknown, not in the catalog; purged, about to be removed.`,
		Example: `  doveadm-crypt mdbox stat -u dora
  doveadm-crypt --format json mdbox stat -u dora`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				st, err := s.StoreStat(cmd.Context(), r)
				if err != nil {
					return err
				}
				return t.showStoreStat(st)
			})
		},
	}
	t.userOption(c, &r.User)
	return c
}

func (t *tool) showStoreStat(st admin.StoreStatResult) error {
	tb := table{columns: []column{{name: "file", title: "File"}, {name: "state", title: "State"}, {name: "size", title: "Bytes"},
		{name: "messages", title: "Messages"}, {name: "expunged", title: "Expunged"}, {name: "dead", title: "Bytes expunged"}}}
	size := int64(0)
	for _, f := range st.Files {
		size += f.Size
		tb.add(f.File, f.State, strconv.FormatInt(f.Size, 10), strconv.FormatUint(uint64(f.Messages), 10),
			strconv.FormatUint(uint64(f.Dead), 10), strconv.FormatUint(f.DeadBytes, 10))
	}
	tb.add("all", strconv.Itoa(len(st.Files))+" files", strconv.FormatInt(size, 10), strconv.Itoa(st.Stored+st.Expunged),
		strconv.Itoa(st.Expunged), strconv.FormatUint(st.DeadBytes, 10))
	return t.show(tb, st)
}
