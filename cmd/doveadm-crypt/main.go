// Command doveadm-crypt manages users and their keys: through the daemon where one runs,
// and by itself where none does. One command is one file: it parses, calls admin.Service
// and prints.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/config"
	"mailcrypt/internal/system"
)

func main() {
	args := hideArguments(os.Args[1:])
	system.HideMemory()
	if status, done := becomeOwner(args, os.Stderr); done {
		os.Exit(status)
	}
	system.HideMemory()
	os.Exit(run(args, os.Stdin, os.Stdout, os.Stderr))
}

// A tool is what every command shares.
type tool struct {
	config  string
	format  string   // of --format, or Dovecot's -f before the command
	options []string // of Dovecot's -o before the command
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	debug   bool
	in      *lines // secrets from stdin
	began   bool   // the command line made sense
}

// run is the whole program, for tests too. An interrupt cancels what is under way, and the
// answer says how far it has come.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends the program
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !t.began {
		err = fmt.Errorf("%w; %w", err, errCommandLine)
	}
	t.complain("", err)
	return status(err)
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "doveadm-crypt",
		Short: "manage users of mailcryptd and their keys",
		Long: `Manage the users of mailcryptd and the keys that their mail is encrypted to: through the
daemon where it runs, and directly in the users' files where it does not. Started by root, it goes
on as the owner of the store.

The commands under "mailbox" take Dovecot's options and print Dovecot's columns, for scripts that were
written for doveadm.

Secrets are asked for at the terminal, without echo. Without a terminal they are read from standard
input, a line each, in the order in which a terminal would be asked; or from the first line of a file
or file descriptor that an option names.

Exit status: 0 done, 64 wrong use, 65 a wrong password, or keys that could not be opened or changed,
67 no such user, 68 no such key, mailbox or message, 69 no daemon answers, 75 a failure that may pass, 78 wrong
configuration, 130 interrupted.`,
		Version:          system.Version(),
		Example:          "  doveadm-crypt --help\n  doveadm-crypt --version",
		Args:             cobra.NoArgs,
		RunE:             func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true, // Dovecot's -f before the command is another than that behind it
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		t.began = true
		return t.checkFormat()
	}
	p := root.PersistentFlags()
	p.StringVarP(&t.config, "config", "c", "/etc/mailcryptd/mailcryptd.toml", "configuration `FILE`")
	p.BoolVarP(&t.debug, "debug", "D", false, "log what happens")
	p.StringVar(&t.format, "format", "", "print as `FORMAT`: table, tab or json; flow and pager too under \"mailbox\"")
	f := root.Flags()
	f.StringVarP(&t.format, "formatter", "f", "", "the same, in Dovecot's place: before the command")
	f.StringArrayVarP(&t.options, "option", "o", nil, "Dovecot's `SETTING=VALUE`: plugin/mail_crypt_private_password, the secret that seals the user keys")
	root.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.RegisterFlagCompletionFunc("formatter", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(t.cryptokey(), t.user(), t.pw(), t.mailbox(), t.fetch(), t.daemonStatus(), t.who(), t.kick(),
		t.configCommand(), t.dict(), t.dump(), t.decrypt(), t.encrypt(),
		t.purge(), t.altmove(), t.forceResync(), t.mdbox(), t.importCommand(), t.exportCommand())
	short := t.checkBackup() // by the shorter way, without a page of its own
	short.Hidden = true
	root.AddCommand(short)
	return root
}

// load reads the configuration.
func (t *tool) load() (*config.Config, *slog.Logger, error) {
	c, err := config.Load(t.config)
	if err != nil {
		return nil, nil, err
	}
	level := slog.LevelWarn
	if t.debug {
		level = slog.LevelDebug
	}
	return c, slog.New(slog.NewTextHandler(t.stderr, &slog.HandlerOptions{Level: level})), nil
}

// service connects to the daemon or does its work.
func (t *tool) service(ctx context.Context) (admin.Service, error) {
	c, log, err := t.load()
	if err != nil {
		return nil, err
	}
	return system.Admin(ctx, c, log)
}
