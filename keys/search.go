package keys

import (
	"errors"
	"fmt"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

const (
	// searchRounds bounds what a ring spends on opening keys that no name points to: some two
	// thousand of Dovecot's wraps, a second or two of a core.
	searchRounds = 4_000_000
	// curveRounds is what opening a key costs on the curve, in rounds.
	curveRounds = 2048
)

// searchCost is what opening a text takes off searchRounds.
func searchCost(info dcrypt.KeyInfo) int { return max(info.Rounds, curveRounds) }

// find looks in the dictionary: by name; by the other of the key's two ids, which its
// public key tells; and at last by opening whatever has not been opened.
func (r *Ring) find(d attrdict.Reader, id dcrypt.KeyID) (*dcrypt.PrivateKey, error) {
	if key := r.findInInbox(d, id); key != nil {
		return key, nil
	}
	names, _, err := privateNames(d, false, maxRecords)
	if err != nil {
		return nil, err
	}
	var failed error
	try := func(wanted string) *dcrypt.PrivateKey {
		for _, n := range names {
			if n.record.id != wanted {
				continue
			}
			key, err := r.open(n)
			if err != nil {
				failed = err
			} else if matches(key, id) {
				return key
			}
		}
		return nil
	}
	if key := try(id.String()); key != nil {
		return key, nil
	}
	other, err := otherID(d, id)
	if err != nil {
		return nil, err
	}
	if other != "" {
		if key := try(other); key != nil {
			return key, nil
		}
	}
	if failed == nil {
		if key := r.search(names, id); key != nil {
			return key, nil
		}
		failed = fmt.Errorf("%w: key %s", dcrypt.ErrNoKey, id)
	}
	return nil, failed
}

// findInInbox looks where most keys are that sessions ask for, without going through all names;
// nil where it is not there, or does not open.
func (r *Ring) findInInbox(d attrdict.Reader, id dcrypt.KeyID) *dcrypt.PrivateKey {
	text, err := get(d, folderLevel(r.keys.inbox).private(id.String()))
	if err != nil || text == nil || len(text) > maxText {
		return nil
	}
	key, err := r.open(namedKey{record{r.keys.inbox, false, id.String()}, text})
	if err != nil || !matches(key, id) {
		return nil
	}
	return key
}

// search opens what has not been opened, within the budget.
func (r *Ring) search(names []namedKey, id dcrypt.KeyID) *dcrypt.PrivateKey {
	for _, n := range names {
		info, err := dcrypt.Inspect(n.text)
		if err != nil || r.isOpen(n.record) {
			continue
		}
		if r.budget < searchCost(info) {
			return nil
		}
		key, err := r.open(n)
		if !errors.Is(err, errLocked) {
			r.budget -= searchCost(info)
		}
		if err == nil && matches(key, id) {
			return key
		}
	}
	return nil
}

// isOpen reports whether the key of a record is among those that known has looked at.
func (r *Ring) isOpen(rec record) bool {
	id, err := dcrypt.ParseKeyID(rec.id)
	return err != nil || r.folder[id] != nil
}

// A namedKey is a stored private key with its name.
type namedKey struct {
	record record
	text   []byte
}

const (
	// maxRecords bounds what one dictionary may make a login look at.
	maxRecords = 100_000
	// maxText is above the size of every key text that dcrypt reads.
	maxText = 128 << 10
)

// privateNames lists the private keys of the user, or of folders; more says that there are
// others beyond the limit. The texts are the transaction's.
func privateNames(d attrdict.Reader, user bool, limit int) (names []namedKey, more bool, err error) {
	err = d.Iterate("priv/", func(name string, text []byte) error {
		rec, ok := parsePrivateName(name)
		if !ok || rec.user != user {
			return nil
		}
		if len(names) == limit {
			more = true
			return errStop
		}
		if len(text) > maxText {
			text = nil // no key; the name still counts
		}
		names = append(names, namedKey{rec, text})
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, false, fmt.Errorf("keys: listing private keys: %w", err)
	}
	return names, more, nil
}

// otherID finds the name under which a key may be stored instead, from the public keys:
// streams of version 1 name the old id, key texts of version 1 hang under it.
func otherID(d attrdict.Reader, id dcrypt.KeyID) (string, error) {
	var other string
	seen := 0
	err := d.Iterate("shared/", func(name string, text []byte) error {
		if !isPublicName(name) {
			return nil
		}
		if seen++; seen > maxRecords {
			return errStop
		}
		one, old, err := dcrypt.PublicIDs(text)
		switch {
		case err != nil || old.IsZero():
			return nil // one bad record must not hide the others
		case old == id:
			other = one.String()
		case one == id:
			other = old.String()
		default:
			return nil
		}
		return errStop
	})
	if err != nil && !errors.Is(err, errStop) {
		return "", fmt.Errorf("keys: listing public keys: %w", err)
	}
	return other, nil
}

var (
	errStop   = errors.New("keys: stop")
	errLocked = errors.New("no user key that wraps it is open")
)
