package admin

import "time"

// Parts of a message that Fetch gives out. Line ends are told by FetchRequest.
const (
	PartText   = "text" // all of it; also where no part is named
	PartHeader = "hdr"  // up to the empty line, and with it
	PartBody   = "body" // what comes after the empty line
	// PartVerify gives out nothing: the message is read through to its end, so that its
	// tag has been checked and its sizes are exact.
	PartVerify = "verify"
	// PartNone gives out nothing, and opens nothing: it needs no secret.
	PartNone = "none"
)

// A FetchRequest asks for one message.
type FetchRequest struct {
	User    string `json:"user"`
	Mailbox string `json:"mailbox"` // in UTF-8, with the separator of the user's namespace
	UID     uint32 `json:"uid"`
	Part    string `json:"part,omitempty"`
	// CRLF gives every line end as CRLF, as IMAP does. Without it they come as they are
	// stored, which is LF with hardly an exception; of a message that has both, as LF.
	CRLF bool `json:"crlf,omitempty"`
	// Secrets open the user keys.
	Secrets []Password `json:"secrets,omitempty"`
}

// A FetchResult tells of the message. It comes after the text, and beside an error too as far
// as it was found.
type FetchResult struct {
	User        string `json:"user"`
	Mailbox     string `json:"mailbox"`
	MailboxGUID string `json:"mailbox_guid"`
	UIDValidity uint32 `json:"uid_validity"`
	Seq         int    `json:"seq"` // its place in the mailbox, from 1
	UID         uint32 `json:"uid"`
	GUID        string `json:"guid"`
	// Flags are names of IMAP's, system flags first. \Recent, which is of sessions, is none.
	Flags    []string  `json:"flags,omitempty"`
	Received time.Time `json:"received"` // INTERNALDATE
	Saved    time.Time `json:"saved"`    // when it was saved in this mailbox
	// Physical and Virtual are the sizes as stored and with CRLF line ends, in octets: counted
	// where the message was opened, else as recorded, and nil where nobody has.
	Physical *int64 `json:"physical,omitempty"`
	Virtual  *int64 `json:"virtual,omitempty"`
	// Stored is the size on the disk, compressed and encrypted.
	Stored int64 `json:"stored"`
	// Encryption says how it is stored; nil where in the clear, or where Problem says so.
	Encryption *Encryption `json:"encryption,omitempty"`
	// Compression is the method, such as gz, of a message that was opened.
	Compression string `json:"compression,omitempty"`
	// Verified says that a tag, a MAC or a checksum covered all of it.
	Verified bool `json:"verified,omitempty"`
	// Problem says, where PartNone was asked for, why the message could not be read.
	Problem string `json:"problem,omitempty"`
	// Bytes is how many octets were given out.
	Bytes int64 `json:"bytes"`
}

// An Encryption is what the header of an encrypted message says.
type Encryption struct {
	Version int      `json:"version"`          // of the stream: 1 or 2
	Cipher  string   `json:"cipher"`           // such as aes-256-gcm
	Digest  string   `json:"digest,omitempty"` // of its key derivation
	Keys    []string `json:"keys"`             // ids, each of which opens it
}
