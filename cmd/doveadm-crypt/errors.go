package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"mailcrypt/admin"
	"mailcrypt/attrdict"
	"mailcrypt/compress"
	"mailcrypt/config"
	"mailcrypt/dcrypt"
	"mailcrypt/dovecotconf"
	"mailcrypt/filecrypt"
	"mailcrypt/internal/durable"
	"mailcrypt/internal/errline"
	"mailcrypt/userdb"
)

// Exit statuses, as Dovecot's (sysexits.h).
const (
	exitUsage       = 64
	exitData        = 65
	exitNoUser      = 67
	exitNotFound    = 68 // Dovecot's "not found"
	exitUnavailable = 69
	exitTemporary   = 75
	exitConfig      = 78
	exitInterrupted = 130 // as shells have it
)

// errCommandLine marks what cobra has to say of the command line.
var errCommandLine = errors.New("see --help")

// errDamagedFile reports files that are not what they should be.
var errDamagedFile = errors.New("something is wrong")

// errDaemonRuns reports work on users' files that a running daemon would undo.
var errDaemonRuns = errors.New("users' files are in use")

// errIncomplete reports a configuration that was made and that mailcryptd does not take yet.
var errIncomplete = errors.New("the configuration does not load yet")

// reported is an exit status whose reason has been told.
type reported int

func (r reported) Error() string { return fmt.Sprintf("exit status %d", int(r)) }

// outcomes are the kinds of failure: the exit status, and what to do next. The first that
// fits counts.
var outcomes = []struct {
	kind   error
	status int
	advice string
}{
	{admin.ErrNoDaemon, exitUnavailable, "start it: systemctl start mailcryptd"},
	{admin.ErrSilent, exitUnavailable, "see its log, and restart it: systemctl restart mailcryptd"},
	{admin.ErrVersion, exitTemporary, ""},
	{admin.ErrUsage, exitUsage, ""},
	{admin.ErrNoUser, exitNoUser, `"doveadm-crypt user '*'" names those that are there`},
	{admin.ErrNoKey, exitNotFound, `"doveadm-crypt cryptokey list" shows those that are there`},
	{admin.ErrNoMailbox, exitNotFound, ""},
	{admin.ErrNoMessage, exitNotFound, ""},
	{admin.ErrUnreadable, exitData, "restore it from a backup"},
	{admin.ErrNeedPassword, exitData, "give the password that seals the user key"},
	{admin.ErrPassword, exitData, "give the password that the keys were sealed with"},
	{admin.ErrUnhealthy, exitData, ""},
	{admin.ErrInUse, exitData, ""},
	{admin.ErrDamaged, exitData, "restore the dictionary from a backup"},
	{admin.ErrPartly, exitData, ""},
	{admin.ErrIncomplete, exitData, ""},
	{admin.ErrStoreInUse, exitTemporary, ""},
	{admin.ErrFull, exitTemporary, adviceFull},
	{admin.ErrReadOnly, exitTemporary, adviceReadOnly},
	{admin.ErrPermission, exitTemporary, advicePermission},
	{admin.ErrLocked, exitTemporary, "do it again in a moment; lsof on the file, or what is in FILE.lock, names who has it"},
	{admin.ErrConflict, exitData, `"doveadm-crypt cryptokey list" shows what is there now`},
	{admin.ErrCanceled, exitInterrupted, "do it again to complete it"},
	{errDamagedFile, exitData, ""},
	{errDaemonRuns, exitTemporary, "systemctl stop mailcryptd"},
	{errIncomplete, exitConfig, ""},
	{dovecotconf.ErrSyntax, exitData, "\"doveconf -n\" says whether Dovecot takes it"},
	{dovecotconf.ErrTooLarge, exitData, ""},
	{attrdict.ErrNotEmpty, exitData, ""},
	{attrdict.ErrChanged, exitData, ""},
	{attrdict.ErrCorrupt, exitData, "restore the dictionary from a backup"},
	{attrdict.ErrLocked, exitTemporary, "end the program that has it open, and do it again"},
	{dcrypt.ErrNoKey, exitData, `"doveadm-crypt dump FILE" names the keys that open it`},
	{dcrypt.ErrPassword, exitData, "give the password that the key was sealed with"},
	{dcrypt.ErrPasswordRequired, exitData, "give the password that the key was sealed with"},
	{dcrypt.ErrAuth, exitData, "restore it from a backup"},
	{dcrypt.ErrTruncated, exitData, "restore it from a backup"},
	{filecrypt.ErrNotEncrypted, exitData, `"doveadm-crypt dump FILE" says what it is`},
	{filecrypt.ErrNoIntegrity, exitData, "say --unverified to have it all the same"},
	{filecrypt.ErrPipe, exitUsage, ""},
	{compress.ErrCorrupt, exitData, "--keep-compression gives out what is compressed"},
	{userdb.ErrExists, exitData, ""},
	{userdb.ErrNoUser, exitNoUser, `"doveadm-crypt user '*'" names those that are there`},
	{userdb.ErrName, exitUsage, ""},
	{errCommandLine, exitUsage, ""},
	{durable.ErrLocked, exitTemporary, "do it again when that has ended"},
	{syscall.ENOSPC, exitTemporary, adviceFull},
	{syscall.EDQUOT, exitTemporary, adviceFull},
	{syscall.EROFS, exitTemporary, adviceReadOnly},
	{fs.ErrPermission, exitTemporary, advicePermission},
}

const (
	adviceFull       = "make room and do it again; nothing is half done"
	adviceReadOnly   = "mount it for writing (dmesg may say why it is not), and do it again"
	advicePermission = "run it as root or as the owner of the mail, to whom what is named here must belong"
)

// outcome is what an error ends the program with. What is wrong with the configuration is
// told as such, whatever lies behind it.
func outcome(err error) (status int, advice string) {
	var c *config.Error
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &c) && errors.Is(err, fs.ErrNotExist):
		return exitConfig, "name the configuration with -c FILE, or make what it names"
	case errors.As(err, &c) && errors.Is(err, fs.ErrPermission):
		return exitConfig, advicePermission
	}
	for _, o := range outcomes {
		if errors.Is(err, o.kind) {
			return o.status, o.advice
		}
	}
	if c != nil {
		return exitConfig, ""
	}
	return exitTemporary, "" // whatever it is, it may pass
}

// status maps an error to the exit status.
func status(err error) int {
	var told reported
	if errors.As(err, &told) {
		return int(told)
	}
	status, _ := outcome(err)
	return status
}

// complain writes an error as one line: what is wrong, and what to do next.
func (t *tool) complain(user string, err error) {
	var told reported
	if err == nil || errors.As(err, &told) {
		return
	}
	text := plainText(err.Error())
	if _, advice := outcome(err); advice != "" {
		text += "; " + advice
	}
	if user != "" {
		user = "(" + clean(user) + ")"
	}
	fmt.Fprintf(t.stderr, "doveadm-crypt%s: %s\n", user, text)
}

// plainText is an error's text in one line, for people.
func plainText(text string) string { return clean(errline.Text(text)) }

// usage is an error of the command line that cobra could not see.
func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", admin.ErrUsage, fmt.Sprintf(format, args...))
}
