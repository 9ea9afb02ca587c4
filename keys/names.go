package keys

import (
	"strings"

	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// Dovecot: mail-crypt-common.h. Names below pvt/ are invisible to IMAP METADATA.
const (
	cryptPrefix  = "vendor/vendor.dovecot/pvt/crypt/"
	serverPrefix = "vendor/vendor.dovecot/pvt/server/"
	// pendingPrefix is ours: the new seal of a user key while a password change is
	// under way, beside Dovecot's attribute, which stays as it is until the end.
	pendingPrefix = serverPrefix + "vendor/vendor.dovecot/pvt/mailcrypt/pending/"
	// What else is ours. Of user keys, below the server's part: kept/<id> is the seal before
	// the last change, for its undoing, and lost/<id> a key that nothing opened when the
	// password was reset. Of user and folder keys: retired/<id> is a key in the middle of being
	// destroyed, and rotated/<id> the Unix time when the key stopped being active.
	ownPrefix = "vendor/vendor.dovecot/pvt/mailcrypt/"
	// quarantinePrefix is ours: ids that were active and could not be shown to belong
	// to the user.
	quarantinePrefix = "vendor/vendor.dovecot/pvt/mailcrypt/quarantine/"
)

// A level is where keys hang: a folder, or the user.
type level struct {
	guid   mailbox.GUID
	prefix string
}

func folderLevel(g mailbox.GUID) level { return level{g, cryptPrefix} }
func userLevel(inbox mailbox.GUID) level {
	return level{inbox, serverPrefix + cryptPrefix}
}

func (l level) active() string { return "shared/" + l.guid.String() + "/" + l.prefix + "active" }
func (l level) public(id string) string {
	return "shared/" + l.guid.String() + "/" + l.prefix + "pubkeys/" + id
}
func (l level) private(id string) string {
	return "priv/" + l.guid.String() + "/" + l.prefix + "privkeys/" + id
}
func (l level) quarantine(id string) string {
	return "shared/" + l.guid.String() + "/" + strings.TrimSuffix(l.prefix, cryptPrefix) + quarantinePrefix + id
}

// own is the name of one of our own private attributes of a key.
func (l level) own(kind, id string) string {
	return "priv/" + l.guid.String() + "/" + l.server() + ownPrefix + kind + "/" + id
}

// rotated is the name under which the end of a key's time is noted.
func (l level) rotated(id string) string {
	return "shared/" + l.guid.String() + "/" + l.server() + ownPrefix + "rotated/" + id
}

// server is what stands before the names of user keys.
func (l level) server() string { return strings.TrimSuffix(l.prefix, cryptPrefix) }

func pendingName(inbox mailbox.GUID, id string) string {
	return "priv/" + inbox.String() + "/" + pendingPrefix + id
}

// A record is the name of a stored private key, taken apart.
type record struct {
	guid mailbox.GUID
	user bool   // a user key; else a folder key
	id   string // as named: a version 2 id, or an old id for a version 1 text
}

// parsePrivateName takes a dictionary name apart; ok is false where it is not that of
// an own private key.
func parsePrivateName(name string) (r record, ok bool) {
	rest, found := strings.CutPrefix(name, "priv/")
	if !found || len(rest) < 33 || rest[32] != '/' {
		return r, false
	}
	guid, err := mailbox.ParseGUID(rest[:32])
	if err != nil {
		return r, false
	}
	r.guid, rest = guid, rest[33:]
	rest, r.user = strings.CutPrefix(rest, serverPrefix)
	r.id, ok = strings.CutPrefix(rest, cryptPrefix+"privkeys/")
	if !ok {
		return record{}, false
	}
	if _, err := dcrypt.ParseKeyID(r.id); err != nil {
		return record{}, false
	}
	return r, true
}

// A name is a dictionary name of a key, taken apart.
type name struct {
	record
	kind string // privkeys, pubkeys, active (without id), pending, kept, lost, retired, rotated or quarantine
}

// parseName takes apart the names of keys, those of ours too; ok is false for all others,
// such as those of keys that are shared with other users.
func parseName(s string) (n name, ok bool) {
	scope, rest, _ := strings.Cut(s, "/")
	guid, rest, found := strings.Cut(rest, "/")
	if !found || scope != "priv" && scope != "shared" {
		return n, false
	}
	var err error
	if n.guid, err = mailbox.ParseGUID(guid); err != nil || n.guid.String() != guid {
		return n, false
	}
	rest, n.user = strings.CutPrefix(rest, serverPrefix)
	ours := false
	if rest, ok = strings.CutPrefix(rest, cryptPrefix); !ok {
		if rest, ours = strings.CutPrefix(rest, ownPrefix); !ours {
			return n, false
		}
	}
	n.kind, n.id, found = strings.Cut(rest, "/")
	want := ""
	switch n.kind {
	case "privkeys":
		want = "priv"
	case "pubkeys", "active":
		want = "shared"
	}
	if ours {
		switch want = ""; n.kind {
		case "pending", "kept", "lost", "retired":
			want = "priv"
		case "rotated", "quarantine":
			want = "shared"
		}
	}
	if want != scope || found == (n.kind == "active") {
		return n, false
	}
	if n.kind != "active" {
		if _, err := dcrypt.ParseKeyID(n.id); err != nil {
			return n, false
		}
	}
	return n, true
}

// isOwn reports whether a dictionary name may be that of an attribute of ours.
func isOwn(name string) bool { return strings.Contains(name, ownPrefix) }

// isPublicName reports whether a dictionary name is that of a public key, of a folder
// or a user.
func isPublicName(name string) bool { return strings.Contains(name, cryptPrefix+"pubkeys/") }
