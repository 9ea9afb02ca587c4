package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mailcrypt/attrdict"
)

// A keptSeal is a user key's seal from before the last change, for as long as that can be
// undone. It is stored as
//
//	kept = until SP sha256 LF text
//
// with the end of its time in Unix seconds and the SHA-256 of the seal that took its place,
// in hex: a seal that was changed once more is not undone.
type keptSeal struct {
	until time.Time
	by    string
	text  []byte
}

func parseKept(value []byte) (s keptSeal, ok bool) {
	head, text, ok := bytes.Cut(value, []byte{'\n'})
	if !ok {
		return s, false
	}
	until, by, ok := strings.Cut(string(head), " ")
	unix, err := strconv.ParseInt(until, 10, 64)
	if !ok || err != nil {
		return s, false
	}
	return keptSeal{time.Unix(unix, 0), by, text}, true
}

func (s keptSeal) String() string { return fmt.Sprintf("%d %s\n%s", s.until.Unix(), s.by, s.text) }

func textSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// keep notes the seal that is there now before another takes its place, for as long as
// keepOld says; without that, one that was kept before goes, for it would open by a secret
// that is older still.
func keep(tx attrdict.Tx, rec record, now, next []byte, keepOld time.Duration) error {
	switch {
	case bytes.Equal(now, next):
		return nil
	case keepOld <= 0 || now == nil:
		return unsetAll(tx, rec.id, "kept")
	}
	s := keptSeal{time.Now().Add(keepOld), textSum(next), now}
	return tx.Set(userLevel(rec.guid).own("kept", rec.id), []byte(s.String()))
}

// unsetAll removes an attribute of ours of a user key, under whatever GUID it hangs.
func unsetAll(tx attrdict.Tx, id, kind string) error {
	var names []string
	err := tx.Iterate("priv/", func(s string, _ []byte) error {
		if n, ok := parseName(s); ok && n.user && n.kind == kind && n.id == id {
			names = append(names, s)
		}
		return nil
	})
	for _, s := range names {
		if err == nil {
			err = tx.Unset(s)
		}
	}
	return err
}
