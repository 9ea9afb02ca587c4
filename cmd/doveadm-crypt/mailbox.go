package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// mailbox has Dovecot's forms of the commands: its options, columns and exit statuses.
func (t *tool) mailbox() *cobra.Command {
	help := func(c *cobra.Command, _ []string) error { return c.Help() }
	m := &cobra.Command{Use: "mailbox", Short: "Dovecot's forms of the commands", Args: cobra.NoArgs, RunE: help,
		Long:    "The commands on keys as doveadm has them, with its options, columns, formats and exit statuses.",
		Example: "  doveadm-crypt mailbox --help"}
	c := &cobra.Command{Use: "cryptokey", Short: "manage users' keys, in Dovecot's form", Args: cobra.NoArgs, RunE: help,
		Long:    "The commands on keys as doveadm has them, with its options, columns, formats and exit statuses.",
		Example: "  doveadm-crypt mailbox cryptokey --help"}
	c.AddCommand(t.mailboxList(), t.mailboxGenerate(), t.mailboxExport(), t.mailboxPassword())
	m.AddCommand(c)
	return m
}

// someUsers is Dovecot's way to say who is meant: -u with a name or a pattern, -A, or -F.
type someUsers struct {
	t    *tool
	user string
	all  bool
	file string
}

func (t *tool) someUsers(c *cobra.Command) *someUsers {
	u := &someUsers{t: t}
	t.userOption(c, &u.user)
	c.Flags().BoolVarP(&u.all, "all-users", "A", false, "all users")
	c.Flags().StringVarP(&u.file, "users-file", "F", "", "the users that `FILE` names, one a line")
	return u
}

// one reports whether a single user is meant by name; tables have a column of users otherwise.
func (u *someUsers) one() bool { return !u.all && u.file == "" && !strings.Contains(u.user, "*") }

// columns puts the users' column before the others where it is needed.
func (u *someUsers) columns(c ...column) []column {
	if u.one() {
		return c
	}
	return append([]column{{name: "username", title: "Username", untitled: true}}, c...)
}

func (u *someUsers) row(user string, cells ...string) []string {
	if u.one() {
		return cells
	}
	return append([]string{user}, cells...)
}

// names lists who is meant.
func (u *someUsers) names(ctx context.Context, s admin.Service) ([]string, error) {
	switch {
	case u.file != "":
		f, err := os.Open(u.file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", admin.ErrTemporary, err) // Dovecot's exit status
		}
		defer f.Close()
		var names []string
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if name := strings.TrimSpace(lines.Text()); name != "" {
				names = append(names, name)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", u.file, err)
		}
		return names, nil
	case u.one():
		return []string{u.user}, nil
	}
	r, err := s.ListUsers(ctx, admin.ListUsersRequest{Mask: u.user})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range r.Users {
		if i.Error == "" {
			names = append(names, i.Name)
		} else {
			u.t.complain(i.Name, fmt.Errorf("%w: %s", admin.ErrTemporary, i.Error))
		}
	}
	return names, nil
}

// each calls fn for every user. What fails for one is told at once, and the first exit
// status that is not 0 is that of the command.
func (u *someUsers) each(ctx context.Context, fn func(s admin.Service, user string) error) error {
	if !u.given() {
		return usage("say whose keys, with -u USER, -A for all users, or -F FILE")
	}
	s, err := u.t.service(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	return u.over(ctx, s, fn)
}

// given reports whether users are named.
func (u *someUsers) given() bool { return u.user != "" || u.all || u.file != "" }

// over is each with a service at hand.
func (u *someUsers) over(ctx context.Context, s admin.Service, fn func(s admin.Service, user string) error) error {
	names, err := u.names(ctx, s)
	if err != nil {
		return err
	}
	worst := 0
	for _, name := range names {
		err := fn(s, name)
		if u.one() {
			return err
		}
		u.t.complain(name, err)
		if n := status(err); n != 0 && worst == 0 {
			worst = n
		}
		if ctx.Err() != nil {
			worst = exitInterrupted
			break
		}
	}
	if worst != 0 {
		return reported(worst)
	}
	return nil
}

// dovecotFormat is the format asked for, or Dovecot's default of the command.
func (t *tool) dovecotFormat(standard string) string {
	if t.format == "" {
		return standard
	}
	return t.format
}

// tell writes what Dovecot logs beside its rows.
func (t *tool) tell(user, level, text string) {
	fmt.Fprintf(t.stderr, "doveadm-crypt(%s): %s: %s\n", clean(user), level, text)
}

// oneMask takes the folder argument, of which Dovecot allows one.
func oneMask(args []string) (string, error) {
	switch len(args) {
	case 0:
		return "", nil
	case 1:
		return args[0], nil
	}
	return "", usage("Extraneous arguments found: %s", clean(strings.Join(args[1:], " ")))
}
