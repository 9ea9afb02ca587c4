//go:build !linux

package attrdict

import (
	"errors"
	"time"
)

// createUnnamed is for Linux.
func createUnnamed(string, time.Duration) error { return errors.ErrUnsupported }
