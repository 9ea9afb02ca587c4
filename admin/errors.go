package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"mailcrypt/attrdict"
	"mailcrypt/keys"
)

// Kinds of failure that callers branch on; they survive the socket. An error may be of
// several kinds.
var (
	// ErrUsage reports arguments that make no sense.
	ErrUsage = errors.New("admin: wrong use")
	// ErrNoUser reports a user who is not there.
	ErrNoUser = errors.New("admin: no such user")
	// ErrPassword reports an old password that is wrong, or opens nothing.
	ErrPassword = errors.New("admin: wrong password")
	// ErrNeedPassword reports that a key is to be opened or sealed and nothing was given
	// that could do it: ask for a password and call again.
	ErrNeedPassword = errors.New("admin: a password is needed")
	// ErrPartly reports that some keys were changed and others were not.
	ErrPartly = errors.New("admin: not every key was changed")
	// ErrNoKey reports that the user has no key, or none of those that were asked for.
	ErrNoKey = errors.New("admin: no such key")
	// ErrNoMailbox reports a mailbox that the user does not have.
	ErrNoMailbox = errors.New("admin: no such mailbox")
	// ErrNoMessage reports a UID that no message of the mailbox has, or has any more.
	ErrNoMessage = errors.New("admin: no such message")
	// ErrUnreadable reports a message that is damaged, or stored in a way that this program
	// does not know. Nothing of it was given out, unless it changed while it was read.
	ErrUnreadable = errors.New("admin: the message cannot be read")
	// ErrInUse reports a key that mail or other keys need, or that is the active one.
	ErrInUse = errors.New("admin: the key is needed")
	// ErrConflict reports that something else is where a key was to be stored, or that
	// what an earlier call found has changed.
	ErrConflict = errors.New("admin: there is something else")
	// ErrUnhealthy reports that a Check found keys missing, damaged or locked.
	ErrUnhealthy = errors.New("admin: the keys are not well")
	// ErrTemporary reports a failure that may pass.
	ErrTemporary = errors.New("admin: temporary failure")
	// ErrReadOnly reports a file system that is mounted for reading. Also temporary.
	ErrReadOnly = errors.New("admin: the disk is read-only")
	// ErrPermission reports files, or a socket, that this process may not use. Also temporary.
	ErrPermission = errors.New("admin: no permission")
	// ErrFull reports a full disk, or a quota of the file system. Also temporary.
	ErrFull = errors.New("admin: the disk is full")
	// ErrLocked reports a dictionary that another process keeps locked. Also temporary.
	ErrLocked = errors.New("admin: the dictionary is locked")
	// ErrDamaged reports a dictionary that cannot be believed.
	ErrDamaged = errors.New("admin: the dictionary is damaged")
	// ErrStoreInUse reports a mail store that Dovecot, or another program, has open.
	ErrStoreInUse = errors.New("admin: the mail store is in use")
	// ErrIncomplete reports a mail store some messages of which are missing, wholly or in parts.
	ErrIncomplete = errors.New("admin: the mail store is not complete")
	// ErrCanceled reports that the caller has gone away or given up.
	ErrCanceled = errors.New("admin: canceled")
	// ErrVersion reports that daemon and tool are of different releases.
	ErrVersion = errors.New("admin: another version of the admin protocol")
	// ErrNoDaemon reports that nobody answers on the socket, or that only a running daemon
	// could do what was asked for.
	ErrNoDaemon = errors.New("admin: no daemon answers")
	// ErrSilent reports a daemon that takes connections and then says nothing, not even that
	// it is at work. What it was asked for may be done or not.
	ErrSilent = errors.New("admin: the daemon does not answer")
)

// kinds gives the errors their names on the socket.
var kinds = map[string]error{
	"usage": ErrUsage, "no-user": ErrNoUser, "password": ErrPassword, "need-password": ErrNeedPassword,
	"partly": ErrPartly, "no-key": ErrNoKey, "in-use": ErrInUse, "conflict": ErrConflict, "unhealthy": ErrUnhealthy,
	"temporary": ErrTemporary, "read-only": ErrReadOnly, "permission": ErrPermission, "silent": ErrSilent, "full": ErrFull, "locked": ErrLocked,
	"no-mailbox": ErrNoMailbox, "no-message": ErrNoMessage, "unreadable": ErrUnreadable,
	"damaged": ErrDamaged, "canceled": ErrCanceled, "version": ErrVersion, "no-daemon": ErrNoDaemon,
	"store-in-use": ErrStoreInUse, "incomplete": ErrIncomplete,
}

// isAny reports whether an error is one of several.
func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// classify gives an error of the layers below its kinds.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return err
		}
	}
	is := func(targets ...error) bool { return isAny(err, targets) }
	switch {
	case is(context.Canceled, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrCanceled, err)
	case is(keys.ErrPassword):
		return fmt.Errorf("%w: %w", ErrPassword, err)
	case is(keys.ErrNoUserKey):
		return fmt.Errorf("%w: %w", ErrNeedPassword, err)
	case is(keys.ErrNoGeneration):
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case is(attrdict.ErrLocked):
		return fmt.Errorf("%w: %w: %w", ErrTemporary, ErrLocked, err)
	case is(attrdict.ErrCorrupt, keys.ErrBadKey):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case is(attrdict.ErrChanged):
		return fmt.Errorf("%w: %w: %w", ErrTemporary, ErrConflict, err)
	case is(syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG):
		return fmt.Errorf("%w: %w: %w", ErrTemporary, ErrFull, err)
	case is(syscall.EROFS):
		return fmt.Errorf("%w: %w: %w", ErrTemporary, ErrReadOnly, err)
	case is(fs.ErrPermission):
		return fmt.Errorf("%w: %w: %w", ErrTemporary, ErrPermission, err)
	}
	// Settings that cannot be used are among these, as with Dovecot: they may be mended.
	return fmt.Errorf("%w: %w", ErrTemporary, err)
}
