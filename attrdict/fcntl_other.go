//go:build !linux

package attrdict

import (
	"errors"
	"os"
)

// fcntlLock would need locks of open file descriptions: a POSIX lock is lost as soon as
// this process closes any descriptor of the file.
func fcntlLock(*os.File) error { return errors.ErrUnsupported }
