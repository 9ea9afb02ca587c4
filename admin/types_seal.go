package admin

// A Seal says how a private key is stored.
type Seal struct {
	// By is "password", "key", "none" where the key lies in the clear, "damaged" where the
	// text is no key, and "missing" where there is no private key.
	By     string `json:"by"`
	Key    string `json:"key,omitempty"`    // id of the key that opens it: of a folder key, its user key
	Cipher string `json:"cipher,omitempty"` // such as aes-256-ctr
	Hash   string `json:"hash,omitempty"`   // of the seal's key derivation, such as sha512
	Rounds int    `json:"rounds,omitempty"`
	Salt   int    `json:"salt,omitempty"`   // octets
	Format string `json:"format,omitempty"` // v1 or v2: of the text
}

// What became of a user key in a Reseal or SetPassword.
const (
	SealedAnew = "sealed"   // it has the new seal, and the old secret does not open it any more
	Prepared   = "prepared" // the new seal is stored beside the old one
	Already    = "already"  // it had the new seal already: an earlier call got so far
	Restored   = "restored" // it had been set aside and is back, with the new seal
	Made       = "made"     // it is new
	SetAside   = "aside"    // no secret opens it: it is kept, out of the way (see Force)
	Left       = "left"     // it is as it was; see Error
)

// A ResealRequest asks for new seals of user keys of one user. Exactly one of New, ToKey,
// ToConfigured and Open says what they are to be sealed by.
type ResealRequest struct {
	User string `json:"user"`
	// Old are tried in turn on each key, as are configured keys, and New, for keys that an
	// earlier call has done already. Open keys need none. Keys that none of them opens are
	// listed and left; the error then wraps ErrPartly, or ErrPassword where none was opened.
	// A key that was set aside and that one of them opens comes back.
	Old []Password `json:"old,omitempty"`
	New *Password  `json:"new,omitempty"`
	// ToKey is a public key text, or PEM, whose private half opens the keys from then on.
	ToKey []byte `json:"to_key,omitempty"`
	// ToConfigured seals to the user's configured mail_crypt_private_key.
	ToConfigured bool `json:"to_configured,omitempty"`
	// Open asks to leave the keys in the clear.
	Open bool `json:"open,omitempty"`
	// Keys restricts it to some ids; empty means all.
	Keys []string `json:"keys,omitempty"`
	// All changes nothing where not every key opens.
	All bool `json:"all,omitempty"`
	// PrepareOnly stores the new seals beside the old ones and returns a Token for
	// EndReseal. Until then both secrets open; a login with the new one makes it count.
	PrepareOnly bool `json:"prepare_only,omitempty"`
	// KeepOld keeps the old seals that long for UndoReseal, in seconds, at most 30 days.
	// While they are kept, who gets at the dictionary can try the old secret on them.
	KeepOld int64 `json:"keep_old,omitempty"`
}

// An EndResealRequest ends what was prepared.
type EndResealRequest struct {
	User  string `json:"user"`
	Token string `json:"token"` // of the ResealResult
	// Commit makes the new seals count; without it they are forgotten. Either may be asked
	// again. Commit does nothing where a login has made them count already; to forget them then
	// ends in ErrConflict.
	Commit bool `json:"commit,omitempty"`
	// KeepOld is that of ResealRequest.
	KeepOld int64 `json:"keep_old,omitempty"`
}

// An UndoResealRequest asks for old seals that were kept.
type UndoResealRequest struct {
	User string `json:"user"`
	// Forget removes the old seals before their time instead of putting them back.
	Forget bool `json:"forget,omitempty"`
}

// A SetPasswordRequest asks for a new login password.
type SetPasswordRequest struct {
	User   string `json:"user"`
	Old    []byte `json:"old"` // the present login password
	New    []byte `json:"new"`
	Scheme string `json:"scheme,omitempty"` // of the hash; "" is the default
	// Keys are further secrets that open user keys, such as earlier passwords.
	Keys []Password `json:"keys,omitempty"`
	// Reset does without the present login password: Old may be empty, or an earlier one
	// that opens the keys. Where nothing opens them the call ends in ErrPassword, unless
	// Force is given.
	Reset bool `json:"reset,omitempty"`
	// Force goes on past user keys that nothing opens: they are set aside, never removed; a
	// new user key is made where the active one is among them; and folders whose keys hang
	// on them get new ones with their next mail. What is lost is in the result.
	Force bool `json:"force,omitempty"`
	// KeepOld is that of ResealRequest. UndoReseal does not change the login password back.
	KeepOld int64 `json:"keep_old,omitempty"`
}

// A KeyResult tells what became of one user key.
type KeyResult struct {
	ID     string `json:"id"`
	Active bool   `json:"active,omitempty"`
	Done   string `json:"done,omitempty"` // SealedAnew, Already and so on
	Was    *Seal  `json:"was,omitempty"`
	Is     *Seal  `json:"is,omitempty"`
	Error  string `json:"error,omitempty"` // "" where it has the new seal
	// FolderKeys says, of a key that is set aside, how many folder keys only it opens.
	FolderKeys int `json:"folder_keys,omitempty"`
}

// A ResealResult tells what became of a user's keys.
type ResealResult struct {
	Keys []KeyResult `json:"keys"`
	// LoginChanged says that the login password is the new one.
	LoginChanged bool `json:"login_changed,omitempty"`
	// Token is for EndReseal, of a Reseal that was only prepared.
	Token string `json:"token,omitempty"`
	// KeptUntil is when the old seals go, in Unix time; 0 where none are kept.
	KeptUntil int64 `json:"kept_until,omitempty"`
	// FoldersReset are GUIDs of folders that get a new key with their next mail.
	FoldersReset []string `json:"folders_reset,omitempty"`
}

// Changed counts the keys that have the new seal.
func (r ResealResult) Changed() int {
	n := 0
	for _, k := range r.Keys {
		if k.Error == "" && k.Done != SetAside {
			n++
		}
	}
	return n
}
