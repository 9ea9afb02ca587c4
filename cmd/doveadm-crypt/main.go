// Command doveadm-crypt manages users and their keys: through the daemon where one runs,
// and by itself where none does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/config"
	"mailcrypt/internal/system"
)

func main() {
	if status, done := becomeOwner(os.Args[1:], os.Stderr); done {
		os.Exit(status)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit statuses, as Dovecot's (sysexits.h).
const (
	exitUsage     = 64
	exitData      = 65
	exitNoUser    = 67
	exitTemporary = 75
	exitConfig    = 78
)

// status maps an error to the exit status.
func status(err error) int {
	var c *config.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, admin.ErrUsage):
		return exitUsage
	case errors.Is(err, admin.ErrNoUser):
		return exitNoUser
	case errors.Is(err, admin.ErrPassword), errors.Is(err, admin.ErrPartly):
		return exitData
	case errors.As(err, &c):
		return exitConfig
	case errors.Is(err, errCommandLine):
		return exitUsage
	}
	return exitTemporary // whatever it is, it may pass
}

// errCommandLine marks what cobra has to say of the command line.
var errCommandLine = errors.New("see --help")

// A tool is what every command shares.
type tool struct {
	config string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	debug  bool
	in     *lines // secrets from stdin
	began  bool   // the command line made sense
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err != nil && !t.began {
		err = fmt.Errorf("%w; %w", err, errCommandLine)
	}
	if err != nil {
		fmt.Fprintln(stderr, "doveadm-crypt:", err)
	}
	return status(err)
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "doveadm-crypt",
		Short:         "manage users of mailcryptd and their keys",
		Version:       system.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentPreRun = func(*cobra.Command, []string) { t.began = true }
	root.PersistentFlags().StringVarP(&t.config, "config", "c", "/etc/mailcryptd/mailcryptd.toml", "configuration `FILE`")
	root.PersistentFlags().BoolVarP(&t.debug, "debug", "D", false, "log what happens")
	mailbox := &cobra.Command{Use: "mailbox", Short: "Dovecot's forms of the commands"}
	mailbox.AddCommand(t.cryptokey())
	root.AddCommand(t.cryptokey(), t.user(), t.pw(), mailbox)
	return root
}

// service connects to the daemon or does its work.
func (t *tool) service(ctx context.Context) (admin.Service, error) {
	c, err := config.Load(t.config)
	if err != nil {
		return nil, err
	}
	level := slog.LevelWarn
	if t.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(t.stderr, &slog.HandlerOptions{Level: level}))
	return system.Admin(ctx, c, log)
}
