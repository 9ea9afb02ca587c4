package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyList() *cobra.Command {
	var r admin.ListRequest
	c := &cobra.Command{
		Use:   "list -u USER [FOLDER...]",
		Short: "list a user's keys",
		Long: `List the keys of USER: the user keys, those of the folders, and those of folders that were
deleted. FOLDER may have the wildcards * and %. No secret is needed, and nothing is changed.

With --count the header of every message is read, to say how many messages need each key, and which
keys they need that are not there.`,
		Example: `  doveadm-crypt cryptokey list -u alice
  doveadm-crypt cryptokey list -u alice --count INBOX 'Archive/*'
  doveadm-crypt cryptokey list -u alice --user-keys --format json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, folders []string) error {
			r.Folders = folders
			return t.forUser(cmd.Context(), r.User, nil, func(s admin.Service) error {
				ctx, done := t.progress(cmd.Context())
				result, err := s.List(ctx, r)
				done()
				if err != nil {
					return err
				}
				return t.showList(result, r.Count)
			})
		},
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVarP(&r.UserKeys, "user-keys", "U", false, "the user keys")
	f.BoolVar(&r.Deleted, "deleted", false, "the keys of folders that are not there any more")
	f.StringArrayVar(&r.IDs, "id", nil, "only the key with this `ID`; may be given again")
	f.BoolVar(&r.Count, "count", false, "count the messages that need each key")
	return c
}

func (t *tool) showList(r admin.ListResult, count bool) error {
	tb := table{columns: []column{{title: "Folder"}, {title: "Active"}, {title: "Key"}, {title: "Curve"}, {title: "Sealed by"}}}
	if count {
		tb.columns = append(tb.columns, column{title: "Messages"})
	}
	tb.columns = append(tb.columns, column{title: "Remarks"})
	for _, k := range r.Keys {
		row := []string{place(k.KeyRef), yesNo(k.Active), k.ID, k.Curve, sealText(&k.Seal)}
		if count {
			n := ""
			if k.Messages != nil {
				n = strconv.FormatInt(*k.Messages, 10)
			}
			row = append(row, n)
		}
		tb.add(append(row, remarks(k))...)
	}
	if err := t.show(tb, r); err != nil {
		return err
	}
	if len(r.Keys) == 0 {
		fmt.Fprintln(t.stderr, "no keys; they are made at the first login, or by \"cryptokey generate\"")
	}
	if s := r.Scan; s != nil && (t.format == "" || t.format == "table") {
		fmt.Fprintln(t.stdout, scanText(*s))
	}
	return nil
}

// remarks are what is unusual about a key.
func remarks(k admin.KeyInfo) string {
	var pending, kept, elsewhere string
	if k.Pending != nil {
		pending = "a change of the password has not ended"
	}
	if k.Kept != nil {
		kept = "the old seal is kept until " + time.Unix(k.KeptUntil, 0).UTC().Format(time.DateTime)
	}
	if k.Elsewhere > 0 {
		elsewhere = fmt.Sprintf("%d messages in other folders", k.Elsewhere)
	}
	return join(k.State, k.Problem, pending, kept, elsewhere)
}
