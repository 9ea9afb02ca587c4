package account

import (
	"errors"
	"fmt"
	"os"

	"mailcrypt/internal/durable"
)

// makeHome makes a missing home. Where this process is root it belongs to the uid and gid of
// the user database, and so does everything that is made in it from then on (see
// durable.Inherit).
func (a *account) makeHome(s Settings) error {
	if os.Geteuid() != 0 {
		if s.UID >= 0 && s.UID != os.Geteuid() {
			a.reg.log.Warn("the user database gives the user a uid that this process does not run as; files belong to this process",
				"user", s.User, "uid", s.UID, "process", os.Geteuid())
		}
		return nil // the mail store makes what it needs
	}
	if _, err := os.Stat(s.Home); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(s.Home, 0o700); err != nil {
		return fmt.Errorf("making the home: %w", err)
	}
	if s.UID < 0 && s.GID < 0 {
		return nil
	}
	return os.Lchown(s.Home, s.UID, s.GID) // -1 leaves it
}
