package admin

import "time"

// A PurgeRequest asks for the space of expunged messages of an mdbox store. In another store
// nothing is done.
type PurgeRequest struct {
	User string `json:"user"`
}

// A MoveResult says what moving messages between the files of an mdbox store has done.
type MoveResult struct {
	Files    int        `json:"files"`    // files that were emptied and removed
	Expunged int        `json:"expunged"` // expunged messages that are gone with them
	Freed    uint64     `json:"freed"`    // their bytes
	Messages int        `json:"messages"` // messages that were moved into other files
	Bytes    uint64     `json:"bytes"`    // theirs
	Left     []LeftFile `json:"left,omitempty"`
}

// A LeftFile is a message file that was left as it is.
type LeftFile struct {
	File   string `json:"file"`   // its name
	Reason string `json:"reason"` // for people
}

// An AltMoveRequest asks to move messages of an mdbox store into its alternative directory.
// All conditions must be met, and one must be given; a message that is in several folders
// moves if it meets them in one.
type AltMoveRequest struct {
	User string `json:"user"`
	// Back moves out of the alternative directory.
	Back bool `json:"back,omitempty"`
	// Folders restricts it to some; masks with * and %.
	Folders []string `json:"folders,omitempty"`
	// SavedBefore and ReceivedBefore restrict it to older messages.
	SavedBefore    time.Time `json:"saved_before,omitzero"`
	ReceivedBefore time.Time `json:"received_before,omitzero"`
	// Seen restricts it to messages that were read, Unflagged to those without \Flagged.
	Seen      bool `json:"seen,omitempty"`
	Unflagged bool `json:"unflagged,omitempty"`
}

// A ResyncRequest asks to make the catalog of an mdbox store anew, from the message files and
// what can be read of the old catalog. Nobody may have the store open.
type ResyncRequest struct {
	User string `json:"user"`
	// DryRun says what would be found, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Restored gives every folder a new UIDVALIDITY, for the catalog is from a backup that is
	// older than the messages.
	Restored bool `json:"restored,omitempty"`
	// FilesOnly takes messages of a store of Dovecot's, without their flags.
	FilesOnly bool `json:"files_only,omitempty"`
}

// A ResyncResult says what was recovered, and what could not be known.
type ResyncResult struct {
	Whole      bool          `json:"whole"`             // nothing was lost, as far as can be known
	Files      int           `json:"files"`             // message files that were read
	Found      int           `json:"found"`             // messages in them
	Bytes      uint64        `json:"bytes"`             // theirs
	Folders    int           `json:"folders"`           // folders that there are now
	Kept       int           `json:"kept"`              // messages that keep UID and flags; copies count
	Expunged   int           `json:"expunged"`          // messages that stay expunged
	Duplicates int           `json:"duplicates"`        // messages that are there twice, and will be purged
	Placed     []FolderCount `json:"placed,omitempty"`  // new messages, whose folder was lost, by where they are now
	Missing    []FolderCount `json:"missing,omitempty"` // messages that are in no file any more
	LostCopies int           `json:"lost_copies,omitempty"`
	// Created are folders with new GUIDs: what keys they had is not known.
	Created        []string      `json:"created,omitempty"`
	NewUIDValidity []string      `json:"new_uidvalidity,omitempty"` // folders that clients will load anew
	Nameless       []string      `json:"nameless,omitempty"`        // folders whose names were lost, under new ones
	Damaged        []DamagedPart `json:"damaged,omitempty"`         // bytes that are no message, and stay where they are
	Renumbered     []string      `json:"renumbered,omitempty"`      // files that have another name now
	NoGUID         int           `json:"no_guid,omitempty"`         // messages that had no GUID
	Attachments    int           `json:"attachments,omitempty"`     // messages that cannot be read, for parts are in Dovecot's attachment directory
	NoCatalog      bool          `json:"no_catalog,omitempty"`      // there was no old catalog
	Unreadable     []string      `json:"unreadable,omitempty"`      // what of the old catalog could not be read
	OldCatalog     string        `json:"old_catalog,omitempty"`     // where the old catalog was put aside
}

// A FolderCount is a number of messages.
type FolderCount struct {
	Folder   string `json:"folder"`
	Messages int    `json:"messages"`
}

// A DamagedPart is a part of a message file.
type DamagedPart struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"` // for people
}

// A StoreStatRequest asks what is in an mdbox store.
type StoreStatRequest struct {
	User string `json:"user"`
}

// A StoreStatResult says what is in an mdbox store.
type StoreStatResult struct {
	Folders   int        `json:"folders"`
	Messages  int        `json:"messages"` // of all folders
	Stored    int        `json:"stored"`   // different ones: copies share their bytes
	Expunged  int        `json:"expunged"` // expunged ones that a purge removes
	LiveBytes uint64     `json:"live_bytes"`
	DeadBytes uint64     `json:"dead_bytes"` // what a purge gives back
	Rebuilds  uint32     `json:"rebuilds"`   // how often the catalog was made anew
	Files     []FileStat `json:"files"`
}

// A FileStat is a message file.
type FileStat struct {
	File      string `json:"file"`
	Alt       bool   `json:"alt,omitempty"` // in the alternative directory
	Size      int64  `json:"size"`
	Known     uint32 `json:"known"` // how much of it the catalog knows
	Messages  uint32 `json:"messages"`
	Dead      uint32 `json:"dead"` // how many of them are expunged
	DeadBytes uint64 `json:"dead_bytes"`
	State     string `json:"state"` // "ok", "tail": longer than is known, "short", "missing", "unknown": not in the catalog, "purged": about to be removed
}
