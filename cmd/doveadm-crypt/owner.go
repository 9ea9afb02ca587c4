package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mailcrypt/config"
)

// becomeOwner runs the command again as the owner of the store where it was started by
// root: no daemon may be running, and files that root makes would lock the daemon out. done
// says that this was done, and with which exit status.
func becomeOwner(args []string, stderr io.Writer) (status int, done bool) {
	if os.Geteuid() != 0 || !touchesStore(args) {
		return 0, false
	}
	c, err := config.Load(configArgument(args))
	if err != nil {
		return 0, false // told by the command itself
	}
	uid, gid, ok := storeOwner(c)
	if !ok || uid == 0 {
		return 0, false
	}
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return exit.ExitCode(), true
	}
	fmt.Fprintf(stderr, "doveadm-crypt: running as the owner of the store, user %d: %v\n", uid, err)
	return exitTemporary, true
}

// touchesStore reports whether a command opens users' files; pw and help do not.
func touchesStore(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "cryptokey" || a == "user" })
}

// configArgument finds -c before cobra does.
func configArgument(args []string) string {
	for i, a := range args {
		switch {
		case (a == "-c" || a == "--config") && i+1 < len(args):
			return args[i+1]
		case strings.HasPrefix(a, "--config="):
			return strings.TrimPrefix(a, "--config=")
		case strings.HasPrefix(a, "-c") && len(a) > 2 && !strings.HasPrefix(a, "--"):
			return strings.TrimPrefix(a[2:], "=")
		}
	}
	return "/etc/mailcryptd/mailcryptd.toml"
}

// storeOwner is the user whom the store belongs to: the owner of the state directory, or,
// before the daemon has ever run, of the directory of the homes.
func storeOwner(c *config.Config) (uid, gid uint32, ok bool) {
	homes, _, _ := strings.Cut(c.MailHome, "%")
	for _, p := range []string{c.StateDir, strings.TrimSuffix(homes, "/")} {
		if p == "" {
			continue
		}
		if fi, err := os.Stat(filepath.Clean(p)); err == nil {
			if st, isUnix := fi.Sys().(*syscall.Stat_t); isUnix {
				return st.Uid, st.Gid, true
			}
		}
	}
	return 0, 0, false
}
