// Command mailcryptd serves IMAP from encrypted mailboxes and takes deliveries by LMTP.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"mailcrypt/internal/errline"
	"mailcrypt/internal/system"
)

func main() {
	system.HideMemory()
	system.WaitOnFiles()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit statuses, as of sysexits.h.
const (
	exitUsage  = 64
	exitConfig = 78
	exitFail   = 1
)

// A statusError carries an exit status with an error.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func run(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "mailcryptd",
		Short:         "IMAP and LMTP over mailboxes that are encrypted as Dovecot's mail-crypt does",
		Version:       system.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(serveCommand(), checkCommand(), demoCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "mailcryptd:", errline.Text(err.Error()))
	if s, ok := err.(*statusError); ok {
		return s.status
	}
	return exitUsage
}

// configFlag adds -c to a command.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "/etc/mailcryptd/mailcryptd.toml", "configuration `FILE`")
}
