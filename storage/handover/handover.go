// Package handover takes dbox stores over from Dovecot and hands mdbox stores to it, without
// losing anything that either knows of them. The files m.N are the same for both; what says
// what is in them changes hands:
//
//	Dovecot     <root>/storage/dovecot.map.index*, <root>/mailboxes/A/dbox-Mails/dovecot.index*
//	mailcryptd  <root>/storage/mailcryptd.mdbox.db (index.Catalog)
//
// With INDEX= in a location these are below that directory.
//
// # One step
//
// A store belongs to one of the two at any moment, whatever kills the program or the machine. The
// directory storage is built a second time beside the first,
//
//	<root>/mailcryptd.new/storage/m.N              hard links of the files in use
//	<root>/mailcryptd.new/storage/mailcryptd.mdbox.db, or dovecot.map.index.log
//	<root>/mailcryptd.new/storage/mailcryptd.moved what is being done, and when
//
// and when all of it is durable the two directories are exchanged. What was set aside is then
// brought to <root>/dovecot-indexes.TIME or <root>/mailcryptd-catalog.TIME. Who finds
// mailcryptd.moved in storage completes that; who finds mailcryptd.new without it removes it
// ([Settle]).
package handover

import (
	"errors"
	"log/slog"

	"mailcrypt/internal/durable"
	"mailcrypt/storage/mdbox"
)

// What callers branch on.
var (
	// ErrInUse reports a store that Dovecot, or a program of ours, has open, or that has
	// changed while it was read.
	ErrInUse = errors.New("handover: the store is in use; stop Dovecot for this user, and do it again")
	// ErrNotEmpty reports a place that has mail already.
	ErrNotEmpty = errors.New("handover: there is mail already")
	// ErrOurs reports an import of a store that is ours already.
	ErrOurs = errors.New("handover: the store is mailcryptd's already")
	// ErrBoth reports a store in which both have indexes, for Dovecot was started on a store that
	// is ours: which of them is right nobody but the administrator knows.
	ErrBoth = errors.New("handover: Dovecot and mailcryptd both have indexes of this store; move dovecot.map.index* away to keep what mailcryptd has, or mailcryptd.mdbox.db to take what Dovecot has")
	// ErrNoStore reports a place without a store that Dovecot has written.
	ErrNoStore = errors.New("handover: there is no mdbox or sdbox store of Dovecot's")
	// ErrLost reports messages that indexes name and that are in no file: the whole file may be
	// elsewhere, on a disk that is not mounted. The report names them; Options.Lossy goes on
	// without them.
	ErrLost = errors.New("handover: messages are missing")
	// ErrAttachments reports messages parts of which Dovecot keeps in mail_attachment_dir.
	// The report names them.
	ErrAttachments = errors.New("handover: parts of messages are in Dovecot's mail_attachment_dir, which is not supported; let Dovecot put them back first (doveadm sync into a store without mail_attachment_dir)")
)

// Options are what Import and Export have in common. The zero value works.
type Options struct {
	// DryRun finds out what would be done, and changes nothing.
	DryRun bool
	// Force does not mind that other programs have the store open.
	Force bool
	// Lossy goes on without messages that are in no file any more.
	Lossy bool
	// Link makes hard links instead of copies where the store goes elsewhere: the old one must
	// not be used any more then.
	Link bool
	// Mdbox are the options with which the store is opened.
	Mdbox mdbox.Options
	// Check looks at the stored bytes of a message, without keys; nil does not. An error says
	// that the message is damaged.
	Check func(stored Stored) error
	// Progress, where set, is called after each message.
	Progress func(what string, done, total int)
	// Logger is told of what does not stop the work; nil is silent.
	Logger *slog.Logger
	// Faults is for tests.
	Faults *durable.Faults
}

// Stored are the stored bytes of a message.
type Stored interface {
	ReadAt(p []byte, at int64) (int, error)
	Size() int64
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	o.Mdbox.Logger, o.Mdbox.Faults = o.Logger, o.Faults
}

// A Report says what was done, or would be.
type Report struct {
	DryRun  bool   `json:"dry_run,omitempty"`
	From    string `json:"from"`            // root of the store that was read
	To      string `json:"to"`              // root of the store that was made; the same in place
	Format  string `json:"format"`          // that of the store that was read: mdbox or sdbox
	Aside   string `json:"aside,omitempty"` // where what said before what is in the store was put
	InPlace bool   `json:"in_place,omitempty"`

	Files    int   `json:"files"`    // of messages
	Stored   int   `json:"stored"`   // messages in them that mailboxes have
	Expunged int   `json:"expunged"` // messages in them that no mailbox has; a purge removes them
	Bytes    int64 `json:"bytes"`    // stored bytes of both

	Mailboxes []MailboxReport `json:"mailboxes"`
	// Damaged are messages that are taken along and cannot be read.
	Damaged []MessageReport `json:"damaged,omitempty"`
	// Found are messages whose entry in Dovecot's map was missing or wrong, and whose GUID a
	// file has.
	Found []MessageReport `json:"found,omitempty"`
	// Lost are messages that are in no file.
	Lost []MessageReport `json:"lost,omitempty"`
	// Attachments are messages that are not complete without Dovecot's attachments.
	Attachments []MessageReport `json:"attachments,omitempty"`
	// Notes are what else was found wrong, or could not be known.
	Notes []string `json:"notes,omitempty"`
}

// A MailboxReport is one mailbox of a Report.
type MailboxReport struct {
	Name        string `json:"name"` // in storage encoding
	GUID        string `json:"guid"`
	UIDValidity uint32 `json:"uidvalidity"`
	UIDNext     uint32 `json:"uidnext"`
	Messages    int    `json:"messages"`
}

// A MessageReport names a message.
type MessageReport struct {
	Mailbox string `json:"mailbox"` // storage name
	UID     uint32 `json:"uid"`
	Place   string `json:"place,omitempty"` // such as "m.3 at 512"
	Reason  string `json:"reason,omitempty"`
}

// Messages counts the messages of all mailboxes.
func (r *Report) Messages() (n int) {
	for _, m := range r.Mailboxes {
		n += m.Messages
	}
	return n
}
