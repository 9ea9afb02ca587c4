// Package mfile keeps the message files of Dovecot's multi-dbox: many messages lie in
// append-only files m.1, m.2 and so on, in the directory "storage" of the mail root or, of
// messages that were moved away, in that of an alternative root.
//
//	file    = "2 M1e C" hex-time LF *message        ; other fields of a capital and a value are ignored
//	message = %x01 %x02 "N" SP 8SP SP 16hex LF body post ; the number is the size of body
//	post    = LF %x01 %x03 LF *(key value LF) LF    ; metadata, see Metadata
//
// A body is what was stored, usually encrypted; the rest is never encrypted, and tells
// dates, sizes, GUIDs and the folder of the first save. Which messages are in which
// folder, and which are expunged, these files do not know: a catalog does, and this
// package is told by it how long each file is (Dir.Known). What lies behind that, left by a
// crash or by another program, is never overwritten, cut off or appended to.
// (Dovecot: dbox-file.h, mdbox-file.c, mdbox-map.c.)
//
// # Durability
//
// Append returns when the bytes, and the names of new files, are on the disk. The caller then
// makes its catalog durable and calls Commit, or Undo. A crash between the two leaves messages
// that no catalog knows; they cost space and nothing else.
package mfile

import (
	"errors"
	"fmt"
	"time"
)

// A Place is where a message lies: the whole of it, from the first byte of its header to the
// end of its metadata, as Dovecot's map has it.
type Place struct{ File, Offset, Size uint32 }

// End is the offset behind the message.
func (p Place) End() int64 { return int64(p.Offset) + int64(p.Size) }

func (p Place) String() string { return fmt.Sprintf("m.%d at %d", p.File, p.Offset) }

// A FileState is what the catalog knows of a file.
type FileState struct {
	ID      uint32
	End     uint32    // the offset behind its last known message; 0 if none is known
	Created time.Time // the stamp in its header
	Alt     bool      // it is in the alternative directory
}

var (
	// ErrGone reports that a file is not there: what was in it has been moved, or is lost.
	ErrGone = errors.New("mfile: no such file")
	// ErrTooLarge reports a message that no file can hold: offsets and sizes have 32 bits.
	ErrTooLarge = errors.New("mfile: message too large for mdbox")
	// ErrBusy reports a file that is being appended to, purged or moved.
	ErrBusy = errors.New("mfile: file is locked")
	// ErrAttachments reports a message parts of which Dovecot has put into its attachment
	// directory (mail_attachment_dir), where this package does not follow.
	ErrAttachments = errors.New("mfile: parts of the message are in an attachment directory, which is not supported; let Dovecot put them back first (doveadm sync into a store without mail_attachment_dir)")
)

// A CorruptError reports bytes that the format does not allow.
type CorruptError struct {
	File   uint32 // m.<File>; 0 where the reader has no name
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	if e.File == 0 {
		return fmt.Sprintf("mfile: at %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("mfile: m.%d at %d: %s", e.File, e.Offset, e.Reason)
}
