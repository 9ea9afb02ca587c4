package index

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"mailcrypt/internal/boltfile"
)

// check looks at a database before bbolt opens it, for what bbolt cannot survive.
func check(path string, wait time.Duration) error {
	f, err := openRegular(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockShared(f, wait); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return nil
	}
	if err := boltfile.Check(f, st.Size()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// lockShared keeps writers out while we look; closing the file ends it.
func lockShared(f *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return bolterrors.ErrTimeout
		}
	}
}
