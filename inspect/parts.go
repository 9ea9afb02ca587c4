package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/storage/maildir"
)

// A KeyInfo is what a key text says.
type KeyInfo struct {
	Format     string `json:"format"` // v1, v2, pem or jwk
	Private    bool   `json:"private"`
	Curve      string `json:"curve,omitempty"` // where the public half can be read
	ID         string `json:"id,omitempty"`
	OldID      string `json:"old_id,omitempty"`
	Protection string `json:"protection,omitempty"` // none, password or key; of a private key
	Protector  string `json:"protector,omitempty"`  // id of the key that opens it
	Cipher     string `json:"cipher,omitempty"`
	Hash       string `json:"hash,omitempty"`
	Rounds     int    `json:"rounds,omitempty"`
}

// A DictInfo is a dictionary of attributes.
type DictInfo struct {
	Attributes []Attribute    `json:"attributes"`
	More       int            `json:"more,omitempty"` // that are not listed
	Counts     map[string]int `json:"counts"`         // by kind
}

// An Attribute is one entry, without its value.
type Attribute struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // user-private, user-public, user-active, folder-..., metadata or other
	Mailbox string   `json:"mailbox,omitempty"`
	Size    int      `json:"size"`
	Key     *KeyInfo `json:"key,omitempty"`
	Error   string   `json:"error,omitempty"` // a key that cannot be read
}

// A UIDListInfo is a dovecot-uidlist.
type UIDListInfo struct {
	Version     int    `json:"version"`
	UIDValidity uint32 `json:"uidvalidity"`
	UIDNext     uint32 `json:"uidnext"`
	GUID        string `json:"guid,omitempty"`
	Messages    int    `json:"messages"`
	First       uint32 `json:"first,omitempty"`
	Last        uint32 `json:"last,omitempty"`
	Torn        bool   `json:"torn,omitempty"`
}

const maxAttributes = 100_000

func looksLikeKey(head []byte) bool {
	if bytes.HasPrefix(head, []byte("-----BEGIN ")) {
		return true
	}
	if len(head) >= 4096 { // cut: the outline cannot be judged
		return bytes.HasPrefix(head, []byte("2:"))
	}
	_, err := dcrypt.Inspect(dcrypt.DecodeKeySetting(bytes.TrimRight(head, "\r\n")))
	return err == nil
}

func (info *Info) key(f *os.File) {
	text, err := io.ReadAll(io.LimitReader(f, maxKeyText))
	if err != nil {
		info.Error = "reading: " + err.Error()
		return
	}
	defer clear(text)
	text = dcrypt.DecodeKeySetting(bytes.TrimRight(text, "\r\n"))
	if info.Key, err = keyInfo(text); err != nil {
		info.Error = err.Error()
	}
}

// keyInfo reads the outline of a key, and more where that needs no secret.
func keyInfo(text []byte) (*KeyInfo, error) {
	i, err := dcrypt.Inspect(text)
	if err != nil {
		return nil, err
	}
	k := &KeyInfo{Format: i.Format.String(), Private: i.Private, ID: i.ID, Protector: i.Protector, Cipher: i.Cipher, Hash: i.Hash, Rounds: i.Rounds}
	var pub *dcrypt.PublicKey
	if i.Private {
		k.Protection = i.Protection.String()
		if i.Protection != dcrypt.Unprotected {
			return k, nil
		}
		key, err := dcrypt.ParsePrivateKey(text, dcrypt.Opener{})
		if err != nil {
			return k, err
		}
		defer key.Destroy()
		pub = key.Public()
	} else if pub, err = dcrypt.ParsePublicKey(text); err != nil {
		return k, err
	}
	k.ID = pub.ID().String()
	if old, ok := pub.OldID(); ok {
		k.OldID = old.String()
	}
	if c, ok := pub.Curve(); ok {
		k.Curve = string(c)
	} else {
		k.Curve = "rsa"
	}
	return k, nil
}

// dict lists a dictionary, which is opened for reading alone.
func (info *Info) dict(ctx context.Context, path string) {
	d, err := attrdict.OpenReadOnly(path)
	if err != nil {
		info.Error = locked(err)
		return
	}
	info.Dict = &DictInfo{Counts: map[string]int{}}
	err = d.View(ctx, func(r attrdict.Reader) error {
		return r.Iterate("", func(key string, value []byte) error {
			a := attribute(key, value)
			info.Dict.Counts[a.Kind]++
			if len(info.Dict.Attributes) == maxAttributes {
				info.Dict.More++
				return nil
			}
			info.Dict.Attributes = append(info.Dict.Attributes, a)
			return nil
		})
	})
	if err = errors.Join(err, d.Close()); err != nil {
		info.Error = err.Error()
	}
}

// attribute tells what a name stands for (Dovecot: mail-crypt-common.h).
func attribute(name string, value []byte) Attribute {
	a := Attribute{Name: name, Kind: "other", Size: len(value)}
	scope, rest, _ := strings.Cut(name, "/")
	guid, rest, ok := strings.Cut(rest, "/")
	if !ok || scope != "priv" && scope != "shared" {
		return a
	}
	a.Mailbox = guid
	level := "folder"
	if inner, ok := strings.CutPrefix(rest, "vendor/vendor.dovecot/pvt/server/"); ok {
		level, rest = "user", inner
	}
	crypt, ok := strings.CutPrefix(rest, "vendor/vendor.dovecot/pvt/crypt/")
	if !ok {
		if !strings.HasPrefix(rest, "vendor/vendor.dovecot/pvt/") {
			a.Kind = "metadata"
		}
		return a
	}
	switch {
	case crypt == "active":
		a.Kind = level + "-active"
		return a
	case strings.HasPrefix(crypt, "pubkeys/"):
		a.Kind = level + "-public"
	case strings.HasPrefix(crypt, "privkeys/"):
		a.Kind = level + "-private"
	default:
		return a
	}
	k, err := keyInfo(value)
	if a.Key = k; err != nil {
		a.Error = err.Error()
	}
	return a
}

func (info *Info) uidlist(f *os.File) {
	l, err := maildir.ReadUIDList(f)
	if err != nil {
		info.Error = err.Error()
		return
	}
	info.UIDList = &UIDListInfo{Version: l.Version, UIDValidity: l.UIDValidity, UIDNext: uint32(l.UIDNext), Messages: l.Messages,
		First: uint32(l.First), Last: uint32(l.Last), Torn: l.Torn}
	if !l.GUID.IsZero() {
		info.UIDList.GUID = l.GUID.String()
	}
	if l.Damage != nil {
		info.Error = l.Damage.Error()
	}
}
