// Package quota decides how much mail a user may keep, by rules in the form of Dovecot's
// quota plugin. It counts nothing itself and does no I/O.
//
// A rule is a mask of mailbox names and what it limits:
//
//	rule   = mask ":" ("ignore" / limit *(":" limit))
//	limit  = ("storage" / "bytes" / "messages") "=" ["+" / "-"] number [unit]
//	unit   = "B" / "k" / "M" / "G" / "T" / "%"      ; storage alone counts KiB
//
//	*:storage=1G:messages=10000    the limits of the user
//	Trash:storage=+100M            beyond them, for what is saved to Trash
//	Trash:storage=+10%             the same, of the user's limit; %% is read too
//	SPAM:ignore                    neither counted nor limited
//
// The masks * and ? stand for the user. In others, * matches any characters and ? one; the
// first rule whose mask matches counts. Two rules of one mask are one rule.
//
// Usage is of all mailboxes together: a rule of a mailbox changes the limit that the
// user's whole usage is held against when something is saved there.
//
// Dovecot: quota-util.c, quota.c, quota-count.c.
package quota

import (
	"errors"
	"math"
)

// NoLimit is the limit of what is not limited.
const NoLimit int64 = math.MaxInt64

// A Usage is an amount of mail.
type Usage struct {
	Bytes    int64 // of messages with CRLF line ends
	Messages int64
}

// Add returns the sum, at most [NoLimit] each.
func (u Usage) Add(v Usage) Usage {
	return Usage{saturate(u.Bytes, v.Bytes), saturate(u.Messages, v.Messages)}
}

// saturate adds two numbers and stays within what they can hold.
func saturate(a, b int64) int64 {
	switch s := a + b; {
	case b > 0 && s < a:
		return math.MaxInt64
	case b < 0 && s > a:
		return math.MinInt64
	default:
		return s
	}
}

// Limits are the most that may be kept; NoLimit where there is none.
type Limits struct {
	Bytes    int64
	Messages int64
}

// Unlimited reports whether nothing is limited.
func (l Limits) Unlimited() bool { return l.Bytes == NoLimit && l.Messages == NoLimit }

// Allow reports whether what is added to the usage keeps within the limits. grace is by how
// many bytes the message that fills the mailbox may go beyond them; who is at the limit
// already gets none (Dovecot: quota_transaction_set_limits). Adding no bytes asks whether
// anything might be saved at all.
func (l Limits) Allow(used, add Usage, grace int64) bool {
	if l.Messages != NoLimit && saturate(used.Messages, add.Messages) > l.Messages {
		return false
	}
	switch {
	case l.Bytes == NoLimit:
		return true
	case used.Bytes > l.Bytes:
		return false
	case used.Bytes == l.Bytes:
		return add.Bytes <= 0
	}
	return add.Bytes <= saturate(l.Bytes-used.Bytes, max(grace, 0))
}

// ErrExceeded reports that a message would take the user above a limit.
var ErrExceeded = errors.New("quota: exceeded")

// An Error is what the user, or who sends to the user, is told of an exceeded quota. It
// unwraps to ErrExceeded.
type Error struct {
	Text      string // Policy.Message
	Temporary bool   // Policy.TempFail
}

func (e *Error) Error() string { return ErrExceeded.Error() }
func (e *Error) Unwrap() error { return ErrExceeded }
