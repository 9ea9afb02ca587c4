package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/account"
	"mailcrypt/admin"
	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/filecrypt"
	"mailcrypt/internal/errline"
	"mailcrypt/internal/system"
	"mailcrypt/keycheck"
	"mailcrypt/keys"
	"mailcrypt/userdb"
)

// A backupCheck looks at copies of homes.
type backupCheck struct {
	t       *tool
	users   *someUsers
	secrets *keySecrets
	path    string
	dicts   []string
	open    bool
	found   []checkedHome
}

func (t *tool) checkBackup() *cobra.Command {
	b := &backupCheck{t: t}
	rows := 0
	c := &cobra.Command{
		Use:   "check-backup [-u USER|-A|-F FILE] PATH",
		Short: "look whether a backup has every key that its mail needs",
		Long: `Look at a copy of users' homes in the directory PATH, as a backup or its restoring has left it: read the
header of every message in its Maildirs, and look in its dictionaries whether every key is there that they
need. Nothing is written, and no daemon is asked. It is the home at PATH, or every home below it; with -u,
-A or -F it is the homes of these users, found by the ends of their paths, and one that is not there counts.

Where a password or key is given, or with --open, the keys must open too. The password is the user's login
password with -u, and otherwise the secret of the seal itself.

The exit status is 0 where all is well, and 65 where something is missing, damaged or, with a secret, shut.`,
		Example: `  doveadm-crypt cryptokey check-backup homes
  doveadm-crypt cryptokey check-backup -u alice --open .
  doveadm-crypt check-backup homes --format json`,
		Args: cobra.ExactArgs(1),
	}
	b.users, b.secrets = t.someUsers(c), t.keySecrets(c)
	f := c.Flags()
	f.StringArrayVar(&b.dicts, "dict", nil, "the `NAME` of dictionaries below a home, where it is not a usual one; may be given again")
	f.BoolVar(&b.open, "open", false, "ask for a password, by which every key must open")
	f.IntVar(&rows, "rows", 100, "list at most `N` messages of a home that cannot be read")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		defer b.secrets.clear()
		b.path = args[0]
		if err := b.secrets.options(cmd.Context()); err != nil {
			return err
		}
		if b.open && len(b.secrets.got) == 0 {
			if err := b.secrets.ask(cmd.Context()); err != nil {
				return err
			}
		}
		b.open = len(b.secrets.got) > 0
		err := b.run(cmd.Context())
		return errors.Join(t.showBackup(b.found, rows), err)
	}
	return c
}

func (b *backupCheck) run(ctx context.Context) error {
	if b.users.given() {
		if err := b.eachUser(ctx); err != nil {
			return err
		}
		return b.verdict()
	}
	err := keycheck.CheckBackup(ctx, b.path, b.options(ctx, nil), func(h keycheck.Home) error {
		b.add(h, "")
		return ctx.Err()
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", admin.ErrCanceled, ctx.Err())
	case errors.Is(err, fs.ErrNotExist):
		return usage("%s", errline.Text(err.Error()))
	case err != nil:
		return err
	}
	return b.verdict()
}

// verdict is the error of a backup that is not well.
func (b *backupCheck) verdict() error {
	bad := 0
	for _, h := range b.found {
		if !h.Healthy {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: in %d of %d homes", admin.ErrUnhealthy, bad, len(b.found))
	}
	return nil
}

// options are those of a home; s is what is configured for its user, nil where that is not
// known.
func (b *backupCheck) options(ctx context.Context, s *account.Settings) keycheck.BackupOptions {
	m := b.t.meter()
	o := keycheck.BackupOptions{Dicts: b.dicts}
	if m != nil {
		o.Report = func(path string, messages int) {
			m.show(admin.Progress{What: "reading headers", Place: path, Done: int64(messages)})
		}
	}
	o.Secrets = func(string) (keycheck.Secrets, error) {
		m.done()
		return b.unlock(s)
	}
	return o
}

// unlock makes secrets of what was given and what is configured.
func (b *backupCheck) unlock(s *account.Settings) (keycheck.Secrets, error) {
	var r keycheck.Secrets
	if s != nil {
		r.Global, r.SealKeys = s.Keys.GlobalPrivate, append(s.Keys.SealKeys, s.Keys.OpenKeys...)
		if s.Keys.Password.Known() {
			r.Passwords = append(r.Passwords, s.Keys.Password)
		}
	}
	for _, p := range b.secrets.got {
		if p.Key == nil {
			if !p.Login || s == nil {
				r.Passwords = append(r.Passwords, keys.NewSecret(p.Secret))
			}
			continue
		}
		key, err := filecrypt.PrivateKey(p.Key, nil)
		if err != nil {
			return r, fmt.Errorf("--key-file: %w", err)
		}
		r.SealKeys, r.Global = append(r.SealKeys, key), append(r.Global, key)
	}
	return r, nil
}

// eachUser looks for the homes of users. The daemon may run: only the user database is read.
func (b *backupCheck) eachUser(ctx context.Context) error {
	c, p, err := b.t.passwdFile()
	if err != nil {
		return err
	}
	defer p.Close()
	d, err := system.Defaults(c)
	if err != nil {
		return err
	}
	names, err := b.users.names(ctx, &admin.Local{Users: p})
	if err != nil {
		return err
	}
	absent := 0
	for _, name := range names {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", admin.ErrCanceled, ctx.Err())
		}
		h, err := b.user(ctx, p, d, name)
		if errors.Is(err, errNoHome) {
			absent++
			continue
		}
		if err != nil && b.users.one() {
			return err
		}
		if err != nil {
			h.Err = errors.Join(h.Err, err)
		}
		b.add(h, name)
	}
	if absent > 0 {
		fmt.Fprintf(b.t.stderr, "%d users have no home yet\n", absent)
	}
	return nil
}

// user checks the copy of one user's home. An error of the copy is in the Home.
func (b *backupCheck) user(ctx context.Context, p *userdb.PasswdFile, d account.Defaults, name string) (h keycheck.Home, err error) {
	u, err := p.Lookup(ctx, name)
	if err != nil {
		return h, err
	}
	var login []byte
	if given := b.secrets.password(); given != nil && given.Login {
		login = given.Secret
	}
	s, err := account.Resolve(d, u, login)
	if err != nil {
		return h, err
	}
	defer s.Keys.Password.Clear()
	if h.Path, err = keycheck.Find(b.path, s.Home); err != nil {
		if !b.users.one() && neverMade(s.Home) {
			return h, errNoHome
		}
		return keycheck.Home{Err: err}, nil
	}
	if mailOutside(&s) {
		return keycheck.Home{Path: h.Path, Err: fmt.Errorf("the mail of %s is not in the home: give the directory of its copy, without -u", name)}, nil
	}
	o := b.options(ctx, &s)
	if o.Dicts == nil && s.AttributeDict != "" {
		if o.Dicts, err = b.dictsOf(&s, h.Path); err != nil {
			return h, err
		}
	}
	return keycheck.CheckHome(ctx, h.Path, o), nil
}

// errNoHome reports a user whose home is not made before the first login or delivery.
var errNoHome = errors.New("the user has no home yet")

// mailOutside reports whether a user's mail is not below the home: nothing would be looked
// at, and all would seem well.
func mailOutside(s *account.Settings) bool {
	_, path, _ := strings.Cut(s.MailLocation, ":")
	path, _, _ = strings.Cut(path, ":")
	home := strings.TrimSuffix(s.Home, "/")
	return path != home && !strings.HasPrefix(path, home+"/") && path != "~" && !strings.HasPrefix(path, "~/")
}

// neverMade reports whether this machine has the place for a home and not the home.
func neverMade(home string) bool {
	_, err := os.Lstat(home)
	_, above := os.Lstat(filepath.Dir(home))
	return errors.Is(err, fs.ErrNotExist) && above == nil
}

// dictsOf is the copy of a user's dictionary, none where there is none. It never is the
// user's own.
func (b *backupCheck) dictsOf(s *account.Settings, copied string) ([]string, error) {
	path, err := attrdict.Path(s.AttributeDict, s.Home)
	if err != nil {
		return nil, err
	}
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(s.Home, "/")+"/"); ok {
		return []string{rest}, nil
	}
	at, err := keycheck.Find(b.path, path)
	if err != nil { // what needs a key will say so
		return []string{}, nil
	}
	at, err = filepath.Abs(at)
	return []string{at}, err
}

// ids are those of a key as text.
func ids(list []dcrypt.KeyID) []string {
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = id.String()
	}
	return texts
}
