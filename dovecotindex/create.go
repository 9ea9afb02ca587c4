package dovecotindex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mailcrypt/internal/durable"
)

// Create makes a new index of a log, as [Mailbox.MdboxLog] and its like return it, at a path
// such as ".../dbox-Mails/dovecot.index", whose directory exists. The log is durable when Create
// returns. There must be no index: an error that wraps fs.ErrExist says which file there is.
// Nobody else must be making one at the same time.
func Create(path string, log []byte) error {
	for _, name := range []string{fileIndex, fileBackup, fileLog, fileLog2, ".cache"} {
		switch _, err := os.Lstat(path + name); {
		case err == nil:
			return fmt.Errorf("dovecotindex: there is an index already, move it away first: %w",
				&fs.PathError{Op: "create", Path: path + name, Err: fs.ErrExist})
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("dovecotindex: creating: %w", err)
		}
	}
	err := durable.Replace(path+fileLog, 0o600, func(w io.Writer) error {
		_, err := bytes.NewReader(log).WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("dovecotindex: creating %s: %w", filepath.Base(path), err)
	}
	return nil
}
