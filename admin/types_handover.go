package admin

// An ImportStoreRequest asks to take over a mail store that Dovecot has written. Sessions of
// the user are ended.
type ImportStoreRequest struct {
	User string `json:"user"`
	// From is a mail_location that begins with mdbox: or sdbox:, or an absolute path of its
	// root; "" is the user's own place. Of another place the messages are copied.
	From string `json:"from,omitempty"`
	// Format is mdbox or sdbox where it must be that; "" is what is found.
	Format string `json:"format,omitempty"`
	// DryRun says what would be done, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Force does not mind that other programs have the store open.
	Force bool `json:"force,omitempty"`
	// Lossy goes on without messages that are in no file.
	Lossy bool `json:"lossy,omitempty"`
	// Link makes hard links of the message files instead of copies; the old store must not be
	// used any more then.
	Link bool `json:"link,omitempty"`
	// Verify opens every message afterwards, with Secrets, which open the user keys.
	Verify  bool       `json:"verify,omitempty"`
	Secrets []Password `json:"secrets,omitempty"`
}

// An ExportStoreRequest asks to hand a mail store to Dovecot, or to make one for it. Sessions
// of the user are ended.
type ExportStoreRequest struct {
	User string `json:"user"`
	// To is an absolute path, missing or empty, for a new store beside this one; "" hands over
	// this one, which is Dovecot's then until an ImportStore.
	To string `json:"to,omitempty"`
	// DryRun says what would be done, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Lossy goes on without messages whose files are not there.
	Lossy bool `json:"lossy,omitempty"`
}

// A HandoverResult says what was taken over or handed over.
type HandoverResult struct {
	DryRun  bool   `json:"dry_run,omitempty"`
	From    string `json:"from"`            // root of the store that was read
	To      string `json:"to"`              // root of the store that was made
	InPlace bool   `json:"in_place"`        // both are one
	Format  string `json:"format"`          // of what was read: mdbox or sdbox
	Aside   string `json:"aside,omitempty"` // where indexes that do not count any more were put

	Files    int              `json:"files"`    // of messages
	Messages int              `json:"messages"` // of all folders
	Stored   int              `json:"stored"`   // different ones: copies share their bytes
	Expunged int              `json:"expunged"` // expunged ones that a purge removes
	Bytes    int64            `json:"bytes"`    // of both, as stored
	Folders  []HandoverFolder `json:"folders"`

	Damaged     []HandoverMessage `json:"damaged,omitempty"`     // taken along, and cannot be read; of sdbox left behind
	Found       []HandoverMessage `json:"found,omitempty"`       // were not where the map says, and found by GUID
	Lost        []HandoverMessage `json:"lost,omitempty"`        // are in no file
	Attachments []HandoverMessage `json:"attachments,omitempty"` // are partly in Dovecot's attachment directory
	Verified    int               `json:"verified,omitempty"`    // messages that were opened afterwards
	Unreadable  []HandoverMessage `json:"unreadable,omitempty"`  // did not open then
	Notes       []string          `json:"notes,omitempty"`       // what else was found, for people
}

// A HandoverFolder is a folder of a store that has changed hands.
type HandoverFolder struct {
	Folder      string `json:"folder"` // as it is on the disk, mostly in modified UTF-7
	GUID        string `json:"guid"`
	UIDValidity uint32 `json:"uid_validity"`
	UIDNext     uint32 `json:"uid_next"`
	Messages    int    `json:"messages"`
}

// A HandoverMessage is a message that something is to be said of.
type HandoverMessage struct {
	Folder string `json:"folder"`
	UID    uint32 `json:"uid"`
	Place  string `json:"place,omitempty"`  // such as "m.3 at 512"
	Reason string `json:"reason,omitempty"` // for people
}
