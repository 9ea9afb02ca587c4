package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/filecrypt"
)

func (t *tool) cryptokeyExport() *cobra.Command {
	var r admin.ExportRequest
	var output string
	var bare bool
	c := &cobra.Command{
		Use:   "export -u USER [FOLDER...]",
		Short: "give out keys, as a file that \"import\" takes",
		Long: `Print the keys of USER as JSON, which "cryptokey import" takes: all of them, or those of the folders
named, which may have the wildcards * and %. They come sealed as they are stored, need no secret, and
are worth nothing without the user's password.

With --clear private keys come unsealed: whoever gets at the output reads the mail.`,
		Example: `  doveadm-crypt cryptokey export -u alice --output alice.keys
  doveadm-crypt cryptokey export -u alice --clear --key-format pem --bare INBOX`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	k := t.keySecrets(c)
	c.RunE = func(cmd *cobra.Command, folders []string) error {
		r.Folders = folders
		if r.Clear {
			fmt.Fprintln(t.stderr, "warning: whoever gets at this output reads the mail")
		}
		return t.forUser(cmd.Context(), r.User, k, func(s admin.Service) error {
			result, err := t.export(cmd.Context(), s, r, k)
			defer clearKeys(result.Keys)
			if len(result.Keys) == 0 {
				return err
			}
			write := func(w io.Writer) error {
				if bare {
					return writeBare(w, result)
				}
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(result)
			}
			if output == "" {
				return errors.Join(write(t.stdout), err)
			}
			return errors.Join(filecrypt.WriteNew(output, write), err)
		})
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVarP(&r.UserKeys, "user-keys", "U", false, "the user keys")
	f.BoolVar(&r.Deleted, "deleted", false, "the keys of folders that are not there any more")
	f.StringArrayVar(&r.IDs, "id", nil, "only the key with this `ID`; may be given again")
	f.BoolVar(&r.Clear, "clear", false, "unsealed")
	f.StringVar(&r.Format, "key-format", "", "with --clear: text, which is Dovecot's, or pem")
	f.BoolVar(&bare, "bare", false, "print the private keys alone, one after the other, not as JSON")
	f.StringVar(&output, "output", "", "write to the new `FILE`, which its owner alone can read")
	return c
}

// export calls Export, asking for a password where keys are to be opened.
func (t *tool) export(ctx context.Context, s admin.Service, r admin.ExportRequest, k *keySecrets) (result admin.ExportResult, err error) {
	err = k.call(ctx, func(ctx context.Context, secrets []admin.Password) error {
		r.Secrets = secrets
		result, err = s.Export(ctx, r)
		return err
	})
	return result, err
}

// writeBare writes private keys, each ended by one line end.
func writeBare(w io.Writer, r admin.ExportResult) error {
	for _, k := range r.Keys {
		if len(k.Private) == 0 {
			continue
		}
		if _, err := w.Write(append(bytes.TrimRight(k.Private, "\n"), '\n')); err != nil {
			return err
		}
	}
	return nil
}

func clearKeys(list []admin.ExportedKey) {
	for _, k := range list {
		clear(k.Private)
	}
}
