package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// maxImport bounds what is read: a key with its names is below 4 KiB.
const maxImport = 64 << 20

func (t *tool) cryptokeyImport() *cobra.Command {
	var r admin.ImportRequest
	var folder string
	var userKey bool
	c := &cobra.Command{
		Use:   "import -u USER FILE",
		Short: "store keys that were exported",
		Long: `Store the keys in FILE for USER, or those on standard input, where FILE is "-". FILE is what
"cryptokey export" has written, or, with --user-key or --folder, one private key: Dovecot's text, or PEM.

What is stored under an id is never replaced. Sealed keys are opened to see whether they are what they
say, by the passwords given, and stored as they are. Keys in the clear are sealed: folder keys to the
active user key, user keys by the password or as the configuration says.`,
		Example: `  doveadm-crypt cryptokey export -u alice --output alice.keys; doveadm-crypt cryptokey import -u alice alice.keys
  doveadm-crypt cryptokey import -u alice --dry-run --password-file pw - <alice.keys`,
		Args: cobra.ExactArgs(1),
	}
	k := t.keySecrets(c)
	k.seals = true
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := needUser(r.User); err != nil {
			return err
		}
		if userKey && folder != "" {
			return usage("a key is a user key or a folder's: give one of --user-key and --folder")
		}
		if r.Keys, err = t.readKeys(args[0], userKey, folder); err != nil {
			return err
		}
		defer clearKeys(r.Keys)
		return t.forUser(cmd.Context(), r.User, k, func(s admin.Service) error {
			result, err := t.importKeys(cmd.Context(), s, r, k)
			return errors.Join(t.showImported(result), err)
		})
	}
	t.userOption(c, &r.User)
	f := c.Flags()
	f.BoolVarP(&userKey, "user-key", "U", false, "FILE is one user key")
	f.StringVar(&folder, "folder", "", "FILE is one key, of this `FOLDER`")
	f.BoolVar(&r.Activate, "activate", false, "make those keys the active ones that were when they were exported")
	f.BoolVar(&r.Unverified, "unverified", false, "take sealed keys that no password opens")
	f.BoolVar(&r.Open, "open", false, "store user keys in the clear that come in the clear")
	f.BoolVar(&r.DryRun, "dry-run", false, "say what would be done, and do nothing")
	return c
}

// readKeys reads a file of keys, or one key.
func (t *tool) readKeys(name string, userKey bool, folder string) ([]admin.ExportedKey, error) {
	in := t.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case len(text) > maxImport:
		return nil, usage("%s is too large for a file of keys", name)
	case userKey || folder != "":
		text = bytes.TrimSpace(text) // Dovecot's text ends in the id, without a line end
		return []admin.ExportedKey{{KeyRef: admin.KeyRef{User: userKey, Folder: folder}, Private: text, Active: true}}, nil
	}
	defer clear(text)
	var r admin.ExportResult
	if json.Unmarshal(text, &r) != nil { // whose error may quote a key
		return nil, usage("%s is not what \"cryptokey export\" writes; for a single key say --user-key or --folder FOLDER", name)
	}
	return r.Keys, nil
}

// importKeys calls Import. A password opens sealed keys and seals user keys that are in the
// clear.
func (t *tool) importKeys(ctx context.Context, s admin.Service, r admin.ImportRequest, k *keySecrets) (result admin.ImportResult, err error) {
	open := slices.ContainsFunc(r.Keys, func(k admin.ExportedKey) bool { return k.User && (k.Clear || k.Seal == nil) })
	err = k.call(ctx, func(ctx context.Context, secrets []admin.Password) error {
		r.Secrets = secrets
		if open && !r.Open {
			r.Password = k.password()
		}
		result, err = s.Import(ctx, r)
		if errors.Is(err, admin.ErrPassword) && len(secrets) == 0 {
			return fmt.Errorf("%w: %w", admin.ErrNeedPassword, err) // nothing was stored
		}
		return err
	})
	return result, err
}

func (t *tool) showImported(r admin.ImportResult) error {
	tb := table{columns: []column{{title: "Folder"}, {title: "Key"}, {title: "Result"}, {title: "Verified"}, {title: "Active"}, {title: "Sealed by"}, {title: "Remarks"}}}
	for _, k := range r.Keys {
		tb.add(place(k.KeyRef), k.ID, k.Done, yesNo(k.Verified), yesNo(k.Activated), sealText(k.Seal), plainText(k.Error))
	}
	return t.show(tb, r)
}
