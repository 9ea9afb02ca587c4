package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) cryptokeyGenerate() *cobra.Command {
	var r admin.GenerateRequest
	var rewrap bool
	c := &cobra.Command{
		Use:   "generate -u USER [FOLDER...]",
		Short: "make keys for a user or for folders",
		Long: `Make a user key, with --user-key, or keys for the folders named; FOLDER may have the wildcards
* and %. Who has an active key keeps it, unless --force asks for another one. The user key is made
before folder keys anyway where there is none.

A new user key is sealed as the configuration says. Where that takes the login password it is asked
for, and must be the one of the login or of the present user key.

With --rewrap, all folder keys are put under the active user key afterwards.`,
		Example: `  doveadm-crypt cryptokey generate -u alice INBOX
  doveadm-crypt cryptokey generate -u alice --user-key --force --rewrap
  doveadm-crypt cryptokey generate -u alice --force '*'`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	k := t.keySecrets(c)
	k.seals = true
	c.RunE = func(cmd *cobra.Command, folders []string) error {
		if r.Folders = folders; len(folders) == 0 && !r.UserKey {
			return usage("say which keys: --user-key, or folders, such as '*' for all")
		}
		return t.forUser(cmd.Context(), r.User, k, func(s admin.Service) error {
			result, err := t.generate(cmd.Context(), s, r, k)
			if err == nil && rewrap {
				var moved admin.RewrapResult
				moved, err = t.rewrap(cmd.Context(), s, admin.RewrapRequest{User: r.User}, k)
				result.Rewrap = &moved
			}
			return errors.Join(t.showGenerated(result), err)
		})
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVarP(&r.UserKey, "user-key", "U", false, "make the user key")
	f.BoolVar(&r.Force, "force", false, "make a new key where there is one; the old one stays for old mail")
	f.BoolVar(&rewrap, "rewrap", false, "put all folder keys under the active user key after that")
	return c
}

func (t *tool) showGenerated(r admin.GenerateResult) error {
	tb := table{columns: []column{{title: "Folder"}, {title: "New"}, {title: "Key"}, {title: "Curve"}, {title: "Sealed by"}, {title: "Remarks"}}}
	for _, k := range r.Keys {
		was := ""
		if k.Was != "" {
			was = "in the place of " + k.Was[:min(12, len(k.Was))]
		}
		tb.add(place(k.KeyRef), yesNo(k.Made), k.ID, k.Curve, sealText(k.Seal), join(was, plainText(k.Error)))
	}
	if err := t.show(tb, r); err != nil || r.Rewrap == nil || t.format == "json" {
		return err
	}
	return t.showRewrapped(*r.Rewrap)
}
