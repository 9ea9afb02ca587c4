package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mailcrypt/config"
)

// becomeOwner gives up root for the owner of the store: no daemon may be running, and files
// that root makes would lock the daemon out. done says that this failed, and with which exit
// status the program ends.
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
	// The calls hold for all threads, and take the saved ids along: there is no way back.
	err = errors.Join(syscall.Setgroups([]int{}), syscall.Setgid(gid), syscall.Setuid(uid))
	if err != nil {
		fmt.Fprintf(stderr, "doveadm-crypt: becoming the owner of the store, user %d: %v; run it as that user\n", uid, strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitTemporary, true
	}
	return 0, false
}

// touchesStore reports whether a command opens users' files; pw and help do not.
func touchesStore(args []string) bool {
	if slices.Contains(args, "check-backup") {
		return false // it changes nothing, and a backup may be root's
	}
	return slices.ContainsFunc(args, func(a string) bool {
		return slices.Contains([]string{"cryptokey", "user", "fetch", "status", "who", "kick"}, a)
	})
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
func storeOwner(c *config.Config) (uid, gid int, ok bool) {
	homes, _, _ := strings.Cut(c.MailHome, "%")
	for _, p := range []string{c.StateDir, strings.TrimSuffix(homes, "/")} {
		if p == "" {
			continue
		}
		if fi, err := os.Stat(filepath.Clean(p)); err == nil {
			if st, isUnix := fi.Sys().(*syscall.Stat_t); isUnix {
				return int(st.Uid), int(st.Gid), true
			}
		}
	}
	return 0, 0, false
}
