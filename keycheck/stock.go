package keycheck

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
)

// A stock is what a dictionary holds of keys, by the ids of their names.
type stock struct {
	private map[string][][]byte     // texts, of folders and users
	user    map[string][][]byte     // of these, those of user keys
	other   map[dcrypt.KeyID]string // the other of a key's two ids, as its public half tells
}

// Bounds of what is looked at, as in package keys.
const (
	maxRecords = 100_000
	maxText    = 128 << 10
)

var errEnough = errors.New("keycheck: enough")

// readStock reads the names of keys (Dovecot: mail-crypt-common.h).
func readStock(ctx context.Context, dict attrdict.Dict) (*stock, error) {
	s := &stock{private: map[string][][]byte{}, user: map[string][][]byte{}, other: map[dcrypt.KeyID]string{}}
	count := 0
	err := dict.View(ctx, func(r attrdict.Reader) error {
		return r.Iterate("", func(key string, value []byte) error {
			if count++; count > 4*maxRecords {
				return errEnough
			}
			if len(value) > maxText {
				value = nil
			}
			if _, id, ok := strings.Cut(key, "/vendor/vendor.dovecot/pvt/crypt/privkeys/"); ok && strings.HasPrefix(key, "priv/") {
				text := bytes.Clone(value)
				s.private[id] = append(s.private[id], text)
				if strings.Contains(key, "/vendor/vendor.dovecot/pvt/server/") {
					s.user[id] = append(s.user[id], text)
				}
			}
			if strings.Contains(key, "/vendor/vendor.dovecot/pvt/crypt/pubkeys/") {
				s.pair(value)
			}
			return nil
		})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return s, err
}

func (s *stock) pair(text []byte) {
	pub, err := dcrypt.ParsePublicKey(text)
	if err != nil {
		return
	}
	if old, ok := pub.OldID(); ok {
		s.other[old], s.other[pub.ID()] = pub.ID().String(), old.String()
	}
}

// judge says what can be told of a key text without its secret.
func (s *stock) judge(text []byte, depth int) State {
	info, err := dcrypt.Inspect(text)
	if err != nil || !info.Private {
		return Damaged
	}
	if info.Protection != dcrypt.ByKey {
		return Sealed
	}
	protectors := s.user[strings.ToLower(info.Protector)]
	if id, err := dcrypt.ParseKeyID(strings.ToLower(info.Protector)); err == nil && s.other[id] != "" {
		protectors = append(protectors[:len(protectors):len(protectors)], s.user[s.other[id]]...)
	}
	if len(protectors) == 0 && depth > 0 {
		return Sealed // a user key that is sealed to a configured key
	}
	if depth > 4 {
		return Sealed
	}
	for _, p := range protectors {
		if state := s.judge(p, depth+1); state == Sealed {
			return Sealed
		}
	}
	return Orphan
}
