package admin

// A KeyRef says which key a row is about.
type KeyRef struct {
	ID   string `json:"id"`
	User bool   `json:"user_key,omitempty"` // a user key; else a folder key
	// GUID is that of the mailbox under which the key is stored, Folder its name, in UTF-8.
	// A user key hangs under INBOX. Folder is "" where no mailbox has the GUID, because it
	// was deleted say.
	GUID   string `json:"guid"`
	Folder string `json:"folder,omitempty"`
}

// A Selection says which keys are meant. The zero Selection means all.
type Selection struct {
	UserKeys bool `json:"user_keys,omitempty"`
	// Folders are names with the wildcards of IMAP's LIST, * and %.
	Folders []string `json:"folders,omitempty"`
	// Deleted means the keys of folders that are not there any more.
	Deleted bool `json:"deleted,omitempty"`
	// IDs restricts the others, and alone means these keys wherever they are.
	IDs []string `json:"ids,omitempty"`
}

// A GenerateRequest asks for new keys. Folders that have an active key, and a user who has,
// keep theirs, which is no error, unless Force asks for another one.
type GenerateRequest struct {
	User string `json:"user"`
	// UserKey makes the user key. It is made before folder keys anyway where there is none.
	UserKey bool `json:"user_key,omitempty"`
	// Folders are names or patterns with * and %; "*" means all folders.
	Folders []string `json:"folders,omitempty"`
	// Force rotates: a new key becomes the active one, and the old ones stay for the mail
	// that needs them.
	Force bool `json:"force,omitempty"`
	// Password seals a new user key, where sealing takes one and the configuration does
	// not have it. It must open a present user key that is sealed by a password, so that a
	// slip locks nobody out; where there is none a login password must be the user's.
	Password *Password `json:"password,omitempty"`
	// Rewrap moves all folder keys under the active user key after that: see RewrapRequest.
	// Old are the secrets of user keys that Password does not open.
	Rewrap bool       `json:"rewrap,omitempty"`
	Old    []Password `json:"old,omitempty"`
}

// A GeneratedKey is the active key of a folder, or of the user, after Generate.
type GeneratedKey struct {
	KeyRef
	Made  bool   `json:"made,omitempty"`  // it is new
	Was   string `json:"was,omitempty"`   // id that was active before it, where it is new
	Curve string `json:"curve,omitempty"` // of a new one
	Seal  *Seal  `json:"seal,omitempty"`
	Error string `json:"error,omitempty"` // none was made
}

// A GenerateResult tells which keys are active now. The error of Generate wraps ErrPartly
// where some could not be made.
type GenerateResult struct {
	Keys    []GeneratedKey `json:"keys"`
	Rewrap  *RewrapResult  `json:"rewrap,omitempty"`
	Matched int            `json:"matched"` // folders that the patterns meant
}

// A RewrapRequest asks to put folder keys under the active user key.
type RewrapRequest struct {
	User string `json:"user"`
	// Secrets open the user keys, the active one among them: nothing is wrapped by a key
	// that is not shown to be the user's.
	Secrets []Password `json:"secrets,omitempty"`
	// Folders restricts it, by patterns; empty means all, of deleted folders too.
	Folders []string `json:"folders,omitempty"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// What became of a folder key in Rewrap, beside Already and Left.
const (
	Rewrapped  = "rewrapped"  // it is under the active user key, and was read back
	WouldBe    = "would be"   // a dry run
	WasInClear = "was clear"  // it lay in the clear, and is under the active user key now
	Unreadable = "unreadable" // what is stored is no key
)

// A RewrappedKey is one record of a folder key. A key that was copied with mail to other
// folders has several.
type RewrappedKey struct {
	KeyRef
	From  string `json:"from,omitempty"` // id of the user key that wrapped it
	Done  string `json:"done"`
	Error string `json:"error,omitempty"` // it is as it was
}

// A RewrapResult tells what became of each folder key. The error of Rewrap wraps ErrPartly
// where some were left.
type RewrapResult struct {
	To   string         `json:"to"` // id of the active user key
	Keys []RewrappedKey `json:"keys"`
}

// Count counts the rows of a kind.
func (r RewrapResult) Count(done string) int {
	n := 0
	for _, k := range r.Keys {
		if k.Done == done {
			n++
		}
	}
	return n
}

// A ListRequest asks for keys of a user.
type ListRequest struct {
	User string `json:"user"`
	Selection
	// Count reads the header of every message to say how many need each key.
	Count bool `json:"count,omitempty"`
}

// States of a key in a list, beside "" for one that is used.
const (
	StateLost    = "lost"    // set aside: no secret opened it when the password was reset
	StateRetired = "retired" // about to be destroyed: a Retire has begun and did not end
	StateGlobal  = "global"  // configured, not stored
	StateNeeded  = "needed"  // messages need it, and it is not there
)

// A KeyInfo is a key as it is stored, and what needs it.
type KeyInfo struct {
	KeyRef
	OldID  string `json:"old_id,omitempty"` // by which streams of version 1 name it
	Active bool   `json:"active,omitempty"` // new mail is encrypted to it, or new folder keys
	State  string `json:"state,omitempty"`
	Curve  string `json:"curve,omitempty"` // or RSA
	Seal   Seal   `json:"seal"`
	// Pending is the new seal that a password change has prepared, Kept the one before the
	// last change.
	Pending *Seal `json:"pending,omitempty"`
	Kept    *Seal `json:"kept,omitempty"`
	// KeptUntil is when the kept seal goes, in Unix time.
	KeptUntil int64 `json:"kept_until,omitempty"`
	Public    bool  `json:"public"` // its public record is there
	Size      int   `json:"size"`   // octets of the stored private text
	// Wraps is how many records of folder keys a user key wraps.
	Wraps int `json:"wraps,omitempty"`
	// Messages is how many messages in the folder are encrypted to the key, or, of a user key
	// or one of a deleted folder, in all folders; nil where they were not counted.
	Messages *int64 `json:"messages,omitempty"`
	// Elsewhere is how many messages of other folders are.
	Elsewhere int64  `json:"elsewhere,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

// A ListResult has the user keys first, then folder keys by the names of their folders.
type ListResult struct {
	Keys []KeyInfo `json:"keys"`
	Scan *Scan     `json:"scan,omitempty"` // where messages were counted
}

// A Scan is what reading the headers of all messages has told.
type Scan struct {
	Folders    int   `json:"folders"`
	Messages   int64 `json:"messages"`
	Encrypted  int64 `json:"encrypted"`
	Clear      int64 `json:"clear"`      // not encrypted
	Unreadable int64 `json:"unreadable"` // whose header is damaged, or could not be read
}

// An ExportRequest asks for keys.
type ExportRequest struct {
	User string `json:"user"`
	Selection
	// Clear gives the private keys unsealed: whoever has them reads the mail. Secrets open
	// them. Without it they come as they are stored, and need no secret.
	Clear   bool       `json:"clear,omitempty"`
	Secrets []Password `json:"secrets,omitempty"`
	// Format is of keys in the clear: "text", which is Dovecot's and the default, or "pem".
	Format string `json:"format,omitempty"`
}

// An ExportedKey is a key pair. Import takes it as it is.
type ExportedKey struct {
	KeyRef
	Active  bool   `json:"active,omitempty"`
	Clear   bool   `json:"clear,omitempty"` // Private is not sealed
	Seal    *Seal  `json:"seal,omitempty"`  // of Private, as stored
	Public  string `json:"public,omitempty"`
	Private []byte `json:"private,omitempty"` // text or PEM
	Error   string `json:"error,omitempty"`   // it could not be opened: Private is missing
}

// An ExportResult has what was asked for. The error of Export wraps ErrPartly where some
// keys could not be opened.
type ExportResult struct {
	Keys []ExportedKey `json:"keys"`
}

// An ImportRequest asks to store keys. What is stored already under an id is never replaced.
// All keys are stored in one transaction; those with an error are left out.
type ImportRequest struct {
	User string `json:"user"`
	// Keys need Private, and for a folder key GUID or Folder. ID and Public are compared
	// with the key where they are given.
	Keys []ExportedKey `json:"keys"`
	// Secrets open sealed keys, so that they can be checked, and the user's keys.
	Secrets []Password `json:"secrets,omitempty"`
	// Unverified takes sealed keys that no secret opens: their id is then only what they say.
	Unverified bool `json:"unverified,omitempty"`
	// Password seals user keys that come in the clear; without it they are sealed as the
	// configuration says. A folder key that comes in the clear is wrapped by the active
	// user key. A sealed key is stored as it is.
	Password *Password `json:"password,omitempty"`
	// Open stores user keys that come in the clear in the clear.
	Open bool `json:"open,omitempty"`
	// Activate makes the keys whose row says Active the active ones.
	Activate bool `json:"activate,omitempty"`
	DryRun   bool `json:"dry_run,omitempty"`
}

// What became of a key in Import, beside Already, Left and WouldBe.
const Imported = "imported"

// An ImportedKey tells what became of a key.
type ImportedKey struct {
	KeyRef
	Done      string `json:"done"`
	Verified  bool   `json:"verified"`            // it was opened, and has its id
	Activated bool   `json:"activated,omitempty"` // or would be, in a dry run
	Seal      *Seal  `json:"seal,omitempty"`      // as it is stored
	Error     string `json:"error,omitempty"`
}

// An ImportResult has a row for each key of the request, in its order. The error of Import
// wraps ErrPartly, or ErrConflict where none was stored.
type ImportResult struct {
	Keys []ImportedKey `json:"keys"`
}

// A RetireRequest asks to destroy keys. A key is not destroyed while a message is encrypted
// to it, or, of a user key, while a folder key hangs on it that is needed or could not be
// told; nor while it is active.
type RetireRequest struct {
	User string `json:"user"`
	// IDs are the keys. With Unneeded, it is every key that can go: not active, and needed by
	// nothing, be it of folders that are there or were deleted.
	IDs      []string `json:"ids,omitempty"`
	Unneeded bool     `json:"unneeded,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
	// Confirm is the code that an earlier call has answered for a key that is needed: the
	// key is destroyed all the same, and what needs it is lost. It holds for one key, and as
	// long as nothing changes. There is no way to do that in one call.
	Confirm string `json:"confirm,omitempty"`
}

// What became of a key in Retire, beside Left and WouldBe.
const Destroyed = "destroyed"

// A RetiredKey tells what became of a key.
type RetiredKey struct {
	KeyRef
	Done     string `json:"done"`
	Messages int64  `json:"messages,omitempty"` // that need it
	Wraps    int    `json:"wraps,omitempty"`    // folder keys that need it
	// Confirm destroys the key all the same; see RetireRequest.
	Confirm string `json:"confirm,omitempty"`
	Error   string `json:"error,omitempty"` // why it was left
}

// A RetireResult has a row for each record of a key. The error of Retire wraps ErrInUse
// where a key is needed.
type RetireResult struct {
	Keys []RetiredKey `json:"keys"`
	Scan *Scan        `json:"scan,omitempty"`
}

// A CheckRequest asks whether all keys are there that mail needs.
type CheckRequest struct {
	User string `json:"user"`
	// Secrets are to open every key. Without them, keys need only be there and well formed.
	Secrets []Password `json:"secrets,omitempty"`
	// Folders restricts it, by patterns; empty means all.
	Folders []string `json:"folders,omitempty"`
	// Rows bounds the Missing of the result; 0 means 1,000.
	Rows int `json:"rows,omitempty"`
}

// Conditions of a key that Check found.
const (
	KeyOK      = "ok"
	KeyLocked  = "locked"  // there, and none of the secrets opens it
	KeyMissing = "missing" // needed, and not there
	KeyDamaged = "damaged" // what is stored under its id is another key, or none
)

// A CheckedKey is a key that messages need, or that new mail will.
type CheckedKey struct {
	KeyRef
	Condition string `json:"condition"`
	Active    bool   `json:"active,omitempty"`
	Messages  int64  `json:"messages"` // that need it
	Error     string `json:"error,omitempty"`
}

// An UnreadableMessage is one that cannot be read by what was found.
type UnreadableMessage struct {
	Folder string   `json:"folder"`
	UID    uint32   `json:"uid"`
	Keys   []string `json:"keys,omitempty"` // ids, each of which would open it
	Error  string   `json:"error"`
}

// A CheckResult is fit for monitoring: Healthy tells whether all is well, and the error of
// Check wraps ErrUnhealthy where it is not.
type CheckResult struct {
	Healthy bool         `json:"healthy"`
	Scan    Scan         `json:"scan"`
	Keys    []CheckedKey `json:"keys"`
	// Missing are messages that nothing opens, MoreMissing how many there are beyond Rows.
	Missing     []UnreadableMessage `json:"missing,omitempty"`
	MoreMissing int64               `json:"more_missing,omitempty"`
	// Warnings are what is not wrong and asks for attention: a change of password that did
	// not end, keys that were set aside.
	Warnings []string `json:"warnings,omitempty"`
}
