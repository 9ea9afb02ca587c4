package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyRewrap() *cobra.Command {
	var r admin.RewrapRequest
	c := &cobra.Command{
		Use:   "rewrap -u USER [FOLDER...]",
		Short: "put folder keys under the active user key",
		Long: `Put the folder keys of USER that hang on older user keys, or lie in the clear, under the active
user key, all in one transaction. Messages stay as they are, and so do the old user keys. FOLDER may
have the wildcards * and %; without it all folder keys are meant, those of deleted folders too.`,
		Example: `  doveadm-crypt cryptokey rewrap -u alice --dry-run
  doveadm-crypt cryptokey rewrap -u alice`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	k := t.keySecrets(c)
	c.RunE = func(cmd *cobra.Command, folders []string) error {
		r.Folders = folders
		return t.forUser(cmd.Context(), r.User, k, func(s admin.Service) error {
			result, err := t.rewrap(cmd.Context(), s, r, k)
			return errors.Join(t.showRewrapped(result), err)
		})
	}
	t.userOption(c, &r.User)
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and do nothing")
	return c
}

// rewrap calls Rewrap, which has changed nothing where it wants a password.
func (t *tool) rewrap(ctx context.Context, s admin.Service, r admin.RewrapRequest, k *keySecrets) (result admin.RewrapResult, err error) {
	err = k.call(ctx, func(ctx context.Context, secrets []admin.Password) error {
		r.Secrets = secrets
		result, err = s.Rewrap(ctx, r)
		return err
	})
	return result, err
}

func (t *tool) showRewrapped(r admin.RewrapResult) error {
	tb := table{columns: []column{{title: "Folder"}, {title: "Key"}, {title: "Was under"}, {title: "Result"}}}
	for _, k := range r.Keys {
		tb.add(place(k.KeyRef), k.ID, k.From[:min(12, len(k.From))], join(k.Done, plainText(k.Error)))
	}
	if err := t.show(tb, r); err != nil {
		return err
	}
	if r.To != "" && (t.format == "" || t.format == "table") {
		fmt.Fprintf(t.stdout, "%d of %d folder keys moved under the user key %s\n", r.Count(admin.Rewrapped)+r.Count(admin.WasInClear), len(r.Keys), r.To)
	}
	return nil
}
