// Package lmtpd receives mail over LMTP (RFC 2033) and gives every recipient its own
// copy, each with its own reply.
//
//	C: LHLO mx.example                 S: 250-... PIPELINING, CHUNKING, SIZE, ...
//	C: MAIL FROM:<a@b.example>         S: 250 2.1.0 OK
//	C: RCPT TO:<alice@example.com>     S: 250 2.1.5 OK
//	C: RCPT TO:<bob+news@example.com>  S: 250 2.1.5 OK
//	C: DATA                            S: 354 ...
//	C: message, CRLF "." CRLF          S: 250 2.0.0 <alice@example.com> ID Saved
//	                                   S: 451 4.3.0 <bob+news@example.com> Temporary failure
//
// Whether a user has room is asked at RCPT, with the SIZE that MAIL has announced, and
// again when the message has come: 552 5.2.2, or 452 4.2.2 where the user's settings say so.
//
// A message is read once from the socket and written to one [Appender] a recipient as
// it arrives: memory is bounded whatever its size, and nothing of it is spooled. What
// is stored is, with CRLF line ends, as Dovecot 2.3.19.1 stores it,
//
//	Return-Path: <from>
//	Delivered-To: recipient
//	Received: from helo ([address])
//		by hostname with LMTP
//		id delivery-id
//		(envelope-from <from>)
//		for <recipient>; date
//
// and then the very bytes that were sent, long lines, 8-bit text and NULs included.
// (For a message to several recipients Dovecot leaves out Delivered-To and "for".)
// Only CRLF "." CRLF ends the data; "." between other line ends is text, so that
// nobody can smuggle a second message past the relay before us.
//
// A failure is temporary (4xx) unless it is known to be permanent, for a permanent
// one bounces the mail. A connection that breaks off stores nothing.
package lmtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"time"

	"mailcrypt/mailbox"
)

// ErrNoUser reports an address that is nobody's here: 550, permanently.
var ErrNoUser = errors.New("lmtpd: no such user")

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("lmtpd: server closed")

// Users finds recipients. Its methods may be called concurrently.
type Users interface {
	// Deliver opens the user that an address belongs to; the detail of user+detail is
	// already off. The error wraps ErrNoUser where there is none; any other defers the
	// mail. The caller closes the Recipient.
	Deliver(ctx context.Context, address string) (Recipient, error)
}

// A Recipient is one user, open for delivery.
type Recipient interface {
	User() string
	// Fits looks before a message is received whether one of the announced size, 0 where
	// none was, may be saved in a folder. Its errors are Append's.
	Fits(ctx context.Context, folder string, size int64) error
	// Append begins a message in a folder. The error and those of the Appender wrap
	// mailbox.ErrTooLarge where the message will never fit, and are a *quota.Error where the
	// user has no room for it.
	Append(ctx context.Context, folder string, info mailbox.SaveInfo) (Appender, error)
	Close() error
}

// An Appender is one message being saved. It is used by one goroutine at a time.
type Appender interface {
	io.Writer
	// Commit makes the message durable; only then may it be acknowledged.
	Commit() (mailbox.UID, error)
	// Abort forgets what was written. After Commit it does nothing.
	Abort() error
}

// Metrics counts; its methods may be called concurrently and must be quick.
type Metrics interface {
	Connection(delta int) // +1 opened, -1 closed
	// Delivery is a recipient's answer, "saved", "deferred", "refused", or "over_quota" for
	// either of them where the user has no room, and the size of the message in bytes.
	Delivery(result string, size int64)
	Panic() // a panic that was caught
}

// Options configures a Server. Only Users is needed.
type Options struct {
	Users    Users
	Hostname string // in the greeting and in Received; default the system's

	Folder             string // where mail goes; default INBOX
	RecipientDelimiter string // characters that begin the detail, "+"; "" keeps addresses whole
	MaxMessageSize     int64  // bytes as sent; 0 is no limit
	MaxRecipients      int    // of a message; default 100
	MaxConnections     int    // at once; default 1,000
	MaxCommits         int    // of one message at once; default 8

	// CommandTimeout is how long a client may be silent between commands, DataTimeout
	// within a message. Defaults are 5 minutes each, as RFC 5321 section 4.5.3.2 wants.
	CommandTimeout, DataTimeout time.Duration

	TLSConfig *tls.Config  // offers STARTTLS; nil does not
	Logger    *slog.Logger // nil is silent
	Metrics   Metrics      // may be nil
}
