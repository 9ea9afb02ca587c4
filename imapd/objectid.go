package imapd

import (
	"crypto/sha256"
	"encoding/hex"

	"mailcrypt/mailbox"
)

// Object identifiers (RFC 8474) are made of what the store has: a mailbox keeps its GUID
// when it is renamed, and a message keeps its own when it is copied and moved. Both begin
// with a letter, so that none can be taken for a number or NIL (section 8.1).

// mailboxID is a MAILBOXID in the parentheses that it always has.
func mailboxID(guid mailbox.GUID) string { return "(F" + guid.String() + ")" }

// emailID is an EMAILID. A message's GUID may be any text, such as the name of its file,
// so its hash stands for it.
func emailID(guid string) string {
	sum := sha256.Sum256([]byte(guid))
	return "M" + hex.EncodeToString(sum[:16])
}

// objectIDArg reads the identifier that SEARCH looks for.
func (p *searchParser) objectIDArg() (string, error) {
	const most = 255
	id, err := p.d.AString()
	if err != nil {
		return "", err
	}
	valid := len(id) > 0 && len(id) <= most
	for _, c := range id {
		valid = valid && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !valid {
		return "", bad("Invalid object identifier.")
	}
	return string(id), nil
}
