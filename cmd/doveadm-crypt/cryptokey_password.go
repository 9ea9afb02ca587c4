package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// A reseal is the flags of `cryptokey password`, in Dovecot's form too.
type reseal struct {
	t                 *tool
	user              string
	oldRaw, newRaw    string
	askOld, askNew    bool
	clearIt, raw      bool
	old, fresh        *secretOption
	earlier, keyFiles []string
	toKey             string
	toConfigured      bool
	ids               []string
	all, prepare      bool
	keep              time.Duration
}

const resealLong = `Give every user key of USER a new password. The old seals stay until the new ones have
been read back. Prompts take login passwords and run them through the configured
mail_crypt_private_password; with --raw, and with -o and -n, the secret is taken as it is.
Without a terminal, passwords are read from standard input, a line each: the old one, then
the new one.

The login password is not changed: see "user password" for both at once.`

// cryptokeyPassword is `cryptokey password`, with Dovecot's flags too.
func (t *tool) cryptokeyPassword() *cobra.Command {
	c := &cobra.Command{
		Use:   "password -u USER",
		Short: "give a user's keys a new password",
		Long: resealLong + `

Where another program keeps the login passwords, --prepare stores the new seals beside the old ones
and prints a token; once that program has changed the password, "cryptokey commit" makes the new
seals count. Until then both passwords open the keys.`,
		Example: `  doveadm-crypt cryptokey password -u alice
  doveadm-crypt cryptokey password -u alice --all --keep-old 48h`,
		Args: cobra.NoArgs,
	}
	r := t.resealFlags(c)
	t.userOption(c, &r.user)
	f := c.Flags()
	f.StringArrayVar(&r.earlier, "earlier-password-file", nil, "open keys by the password in the first line of `FILE` too; may be given again")
	f.StringArrayVar(&r.keyFiles, "key-file", nil, "open what is sealed to the private key in `FILE`")
	f.StringVar(&r.toKey, "to-key-file", "", "seal to the public key in `FILE` instead of a password")
	f.BoolVar(&r.toConfigured, "to-configured-key", false, "seal to the configured mail_crypt_private_key instead of a password")
	f.StringArrayVar(&r.ids, "id", nil, "only the user key with this `ID`; may be given again")
	f.BoolVar(&r.all, "all", false, "change nothing where not every key opens")
	f.BoolVar(&r.prepare, "prepare", false, "store the new seals, and leave the old ones in force")
	f.DurationVar(&r.keep, "keep-old", 0, "keep the old seals that long, such as 48h, for \"cryptokey undo\"; 30 days at most")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := r.run(cmd)
		if t.format == "json" {
			return errors.Join(t.show(table{}, result), err)
		}
		t.showReseal(result)
		if err == nil || result.Changed() > 0 {
			fmt.Fprintf(t.stdout, "result: Changed password for %d key(s)\n", result.Changed())
		}
		if result.Token != "" {
			fmt.Fprintf(t.stdout, "token: %s\n", result.Token)
		}
		return err
	}
	return c
}

// resealFlags adds the flags that both forms of the command have.
func (t *tool) resealFlags(c *cobra.Command) *reseal {
	r := &reseal{t: t}
	f := c.Flags()
	f.StringVarP(&r.oldRaw, "old-password", "o", "", "old `SECRET` of the seal, as it is")
	f.StringVarP(&r.newRaw, "new-password", "n", "", "new `SECRET` of the seal, as it is")
	f.BoolVarP(&r.askOld, "ask-old-password", "O", false, "ask for the old password (the default)")
	f.BoolVarP(&r.askNew, "ask-new-password", "N", false, "ask for the new password (the default)")
	f.BoolVarP(&r.clearIt, "clear-password", "C", false, "leave the keys without a password")
	f.BoolVar(&r.raw, "raw", false, "take passwords as the secret of the seal, not as login passwords")
	r.old = t.secretOption(c, "old-password", "the old password", "Old password")
	r.fresh = t.secretOption(c, "new-password", "the new password", "New password")
	return r
}

// check finds flags that do not go together.
func (r *reseal) check(cmd *cobra.Command) error {
	flags := cmd.Flags()
	given := flags.Changed("new-password") || r.askNew || r.fresh.given()
	switch {
	case flags.Changed("old-password") && r.askOld:
		return usage("old password specified, cannot ask for it")
	case flags.Changed("new-password") && r.askNew:
		return usage("new password specified, cannot ask for it")
	case r.clearIt && given:
		return usage("clear password and new password specified")
	case (r.toKey != "" || r.toConfigured) && (given || r.clearIt) || r.toKey != "" && r.toConfigured:
		return usage("a key is sealed by one thing: a password, a key, or nothing")
	case r.keep < 0 || r.keep > 30*24*time.Hour:
		return usage("old seals are kept for 30 days (720h) at most")
	}
	if flags.Changed("old-password") || flags.Changed("new-password") {
		fmt.Fprintln(r.t.stderr, commandLineWarning)
	}
	return nil
}

// run does it for the one user who is named.
func (r *reseal) run(cmd *cobra.Command) (result admin.ResealResult, err error) {
	if err := needUser(r.user); err != nil {
		return result, err
	}
	q, forget, err := r.request(cmd)
	defer forget()
	if err != nil {
		return result, err
	}
	s, err := r.t.service(cmd.Context())
	if err != nil {
		return result, err
	}
	defer s.Close()
	return r.one(cmd.Context(), s, r.user, q)
}

// request asks for what is not given, in Dovecot's order. forget clears it.
func (r *reseal) request(cmd *cobra.Command) (q admin.ResealRequest, forget func(), err error) {
	q = admin.ResealRequest{Open: r.clearIt, ToConfigured: r.toConfigured, Keys: r.ids, All: r.all,
		PrepareOnly: r.prepare, KeepOld: int64(r.keep / time.Second)}
	forget = func() {
		for _, p := range q.Old {
			clear(p.Secret)
			clear(p.Key)
		}
		if q.New != nil {
			clear(q.New.Secret)
		}
	}
	if err = r.check(cmd); err == nil {
		err = r.secrets(cmd.Context(), cmd, &q)
	}
	return q, forget, err
}

// one does it for a user.
func (r *reseal) one(ctx context.Context, s admin.Service, user string, q admin.ResealRequest) (admin.ResealResult, error) {
	q.User = user
	ctx, done := r.t.progress(ctx)
	defer done()
	result, err := s.Reseal(ctx, q)
	if errors.Is(err, admin.ErrNoKey) && len(q.Keys) == 0 {
		return result, nil // Dovecot: it is done with 0 keys
	}
	return result, err
}

func (r *reseal) secrets(ctx context.Context, cmd *cobra.Command, q *admin.ResealRequest) error {
	keys, err := r.t.otherSecrets(nil, r.keyFiles, r.raw)
	q.Old = keys
	if err != nil {
		return err
	}
	dovecot, err := r.t.dovecotSecret()
	if err != nil {
		return err
	}
	if dovecot != nil {
		q.Old = append(q.Old, *dovecot)
	}
	switch given := cmd.Flags().Changed("old-password"); {
	case given:
		q.Old = append(q.Old, admin.Password{Secret: []byte(r.oldRaw)})
	case len(q.Old) == 0 || r.askOld || r.old.given():
		secret, err := r.old.get(ctx, false)
		if err != nil {
			return err
		}
		q.Old = append(q.Old, admin.Password{Secret: secret, Login: !r.raw})
	}
	earlier, err := r.t.otherSecrets(r.earlier, nil, r.raw)
	q.Old = append(q.Old, earlier...)
	if err != nil {
		return err
	}
	switch {
	case r.clearIt || r.toConfigured:
	case r.toKey != "":
		q.ToKey, err = readKeyFile(r.toKey)
	case cmd.Flags().Changed("new-password"):
		q.New = &admin.Password{Secret: []byte(r.newRaw)}
	default:
		var secret []byte
		secret, err = r.fresh.get(ctx, true)
		q.New = &admin.Password{Secret: secret, Login: !r.raw}
	}
	return err
}

// doneText says what became of a key.
var doneText = map[string]string{
	"": "new seal", admin.SealedAnew: "new seal", admin.Already: "has the new seal already",
	admin.Prepared: "new seal beside the old one", admin.Restored: "back, with the new seal",
	admin.Made: "new", admin.SetAside: "set aside", admin.Left: "as it was",
}

// showReseal says what became of each key.
func (t *tool) showReseal(r admin.ResealResult) {
	for _, k := range r.Keys {
		switch text, known := doneText[k.Done]; {
		case k.Error != "" && k.Done != admin.SetAside:
			fmt.Fprintf(t.stdout, "%s  unchanged: %s\n", k.ID, plainText(k.Error))
		case k.Done == admin.SetAside:
			fmt.Fprintf(t.stdout, "%s  set aside, with %d folder keys that only it opens\n", k.ID, k.FolderKeys)
		case known:
			fmt.Fprintf(t.stdout, "%s  %s\n", k.ID, text)
		default:
			fmt.Fprintf(t.stdout, "%s  %s\n", k.ID, k.Done)
		}
	}
	for _, guid := range r.FoldersReset {
		fmt.Fprintf(t.stdout, "folder %s gets a new key with its next mail\n", guid)
	}
	if r.KeptUntil != 0 {
		fmt.Fprintf(t.stdout, "the old seals are kept until %s\n", time.Unix(r.KeptUntil, 0).UTC().Format(time.RFC3339))
	}
}
