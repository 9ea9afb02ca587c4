package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/account"
	"mailcrypt/admin"
	"mailcrypt/attrdict"
	"mailcrypt/internal/durable"
	"mailcrypt/internal/system"
)

// A copiedDict is what became of one dictionary.
type copiedDict struct {
	User   string `json:"user,omitempty"`
	From   string `json:"from"`
	To     string `json:"to"`
	DryRun bool   `json:"dry_run,omitempty"`
	attrdict.Transferred
}

func (t *tool) dictCopy() *cobra.Command {
	var o attrdict.TransferOptions
	c := &cobra.Command{
		Use:   "copy [-u USER|-A|-F FILE] FROM TO",
		Short: "copy keys and annotations from one dictionary to another",
		Long: `Copy everything from the dictionary FROM to the dictionary TO, each file:PATH, which is Dovecot's, with
:lock=fcntl or :lock=flock where Dovecot is told so, or bolt:PATH. What was copied is compared afterwards.
FROM is locked meanwhile, and stays as it is. Nothing is ever overwritten: TO must be empty, or, with
--merge, have no other values than FROM. A second dry run with --merge thus compares the two.

With -u, -A or -F the names are templates, as in the configuration: "~/" is the home of the user, and %u
the name. Then mailcryptd must not be running, for it would go on making keys in the old place. Stop
Dovecot too, unless it goes on using FROM and mailcryptd does as well.

Afterwards set mail_attribute_dict to TO, and look with "cryptokey check -A".`,
		Example: `  doveadm-crypt dict copy -u alice --dry-run bolt:~/keys.db file:~/Maildir/dovecot-attributes
  doveadm-crypt dict copy -A bolt:~/keys.db file:~/Maildir/dovecot-attributes
  doveadm-crypt dict copy bolt:$PWD/homes/alice/keys.db file:$PWD/attributes`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeURI,
	}
	u := t.someUsers(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		all := []copiedDict{}
		if !u.given() {
			row := copiedDict{From: args[0], To: args[1], DryRun: o.DryRun}
			var err error
			if row.Transferred, err = attrdict.TransferURI(cmd.Context(), row.To, row.From, "", o); err != nil {
				return adviseMerge(err)
			}
			return t.showCopied(append(all, row), false)
		}
		err := t.copyUsers(cmd.Context(), u, args, o, func(row copiedDict) { all = append(all, row) })
		return errors.Join(t.showCopied(all, true), err)
	}
	f := c.Flags()
	f.BoolVar(&o.Merge, "merge", false, "copy to a dictionary that is not empty; what it has stays, and must not contradict")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be copied, and do nothing")
	return c
}

// copyUsers copies the dictionaries of users, as the one process that has their files.
func (t *tool) copyUsers(ctx context.Context, u *someUsers, uris []string, o attrdict.TransferOptions, done func(copiedDict)) error {
	c, log, err := t.load()
	if err != nil {
		return err
	}
	s, err := system.Open(c, log)
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w: %w", errDaemonRuns, err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	defaults, err := system.Defaults(c)
	if err != nil {
		return err
	}
	m := t.meter()
	defer m.done()
	copied, absent := 0, 0
	err = u.over(ctx, s.Admin(nil), func(_ admin.Service, user string) error {
		m.show(admin.Progress{What: "copying", Place: user, Done: int64(copied)})
		row, err := copyUser(ctx, s, defaults, user, uris, o)
		if errors.Is(err, fs.ErrNotExist) && !u.one() { // never logged in, say
			absent++
			return nil
		}
		if err != nil {
			m.done()
			return adviseMerge(err)
		}
		copied++
		done(row)
		return nil
	})
	m.done()
	switch {
	case absent == 0:
	case copied == 0 && err == nil:
		err = usage("no user has a dictionary %s", uris[0])
	default:
		fmt.Fprintf(t.stderr, "%d users have no dictionary %s\n", absent, clean(uris[0]))
	}
	return err
}

func copyUser(ctx context.Context, s *system.System, d account.Defaults, name string, uris []string, o attrdict.TransferOptions) (copiedDict, error) {
	row := copiedDict{User: name, DryRun: o.DryRun}
	u, err := s.Users.Lookup(ctx, name)
	if err != nil {
		return row, err
	}
	// The user's own field names the dictionary in use; what is meant is what was said.
	plain := *u
	plain.Fields = maps.Clone(u.Fields)
	delete(plain.Fields, "mail_attribute_dict")
	home := ""
	for i, at := range []*string{&row.From, &row.To} {
		d.AttributeDict = uris[i]
		settings, err := account.Resolve(d, &plain, nil)
		if err != nil {
			return row, fmt.Errorf("%w: %w", admin.ErrUsage, err)
		}
		*at, home = settings.AttributeDict, settings.Home
	}
	row.Transferred, err = attrdict.TransferURI(ctx, row.To, row.From, home, o)
	return row, err
}

// adviseMerge says what to do about a target that has something.
func adviseMerge(err error) error {
	switch {
	case errors.Is(err, attrdict.ErrNotEmpty):
		return fmt.Errorf("%w; nothing was copied: --merge copies what it does not have", err)
	case errors.Is(err, attrdict.ErrChanged):
		return fmt.Errorf("%w; nothing was copied: \"dump\" lists both", err)
	}
	return err
}

func (t *tool) showCopied(all []copiedDict, users bool) error {
	tb := table{columns: []column{{title: "User"}, {title: "From"}, {title: "To"}, {title: "Copied"}, {title: "Same"}, {title: "Kept"}}}
	if len(all) > 0 && all[0].DryRun {
		tb.columns[3].title = "Would copy"
	}
	for _, r := range all {
		tb.add(r.User, r.From, r.To, strconv.Itoa(r.Copied), strconv.Itoa(r.Same), strconv.Itoa(r.Kept))
	}
	if !users {
		tb.columns = tb.columns[1:]
		for i := range tb.rows {
			tb.rows[i] = tb.rows[i][1:]
		}
	}
	return t.show(tb, all)
}
