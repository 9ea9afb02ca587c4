// Package control has what stores of all layouts keep in common beside their messages, in
// Dovecot's forms: the names of mailboxes on disk, the file "subscriptions", the counter of
// UIDVALIDITYs, and the syntax of mail_location.
//
//	subscriptions = "V" TAB "2" LF LF *(part *(TAB part) LF)   ; version 2
//	              / *(storage-name LF)                         ; version 1, kept where it is found
//
// A part of version 2 is escaped: 01 1, 01 t, 01 n, 01 r and 01 0 stand for 01, TAB, LF, CR
// and NUL. The file is replaced under the dotlock subscriptions.lock.
//
// The counter is the name of an empty file, dovecot-uidvalidity.<8 hexadecimal digits>; the
// file dovecot-uidvalidity holds the digits too, as a hint.
package control

import (
	"log/slog"
	"sync"
	"time"

	"mailcrypt/internal/durable"
)

const (
	// maxSmallFile bounds the files that are read whole.
	maxSmallFile = 16 << 20
	// maxRounds is how often something is tried that other programs get in the way of.
	maxRounds = 10
)

// A Dir is the control directory of one user's mail. It is used by pointer, all fields but
// Subscriptions are set before, and its methods may be called concurrently.
type Dir struct {
	Path string // made when it is first needed
	// Subscriptions is the name of the file with the subscribed names; "" means
	// "subscriptions".
	Subscriptions string
	Separator     byte          // joins the levels of storage names
	Host          string        // in locks
	LockWait      time.Duration // how long to wait for another program's lock
	Tree          durable.Tree  // makes directories, and has the faults of tests
	Logger        *slog.Logger

	mu   sync.Mutex
	last uint32 // UIDVALIDITY
}
