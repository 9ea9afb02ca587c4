//go:build !linux

package attrdict

import (
	"errors"
	"os"
)

// renameNew would rename, unless the new name exists; here that takes hard links.
func renameNew(from, to string) error {
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: errors.ErrUnsupported}
}
