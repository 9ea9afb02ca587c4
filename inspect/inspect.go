// Package inspect tells what a file of a mail store is and what it says, without keys:
// encrypted messages, key texts, dictionaries of keys, uidlists, files and catalogs of mdbox.
//
// Values of attributes, key material and text of messages are not shown. Nothing of what
// is told is authenticated: it is what the file says about itself.
package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A Kind is what a file was taken for.
type Kind string

// The kinds.
const (
	Message  Kind = "message"  // an encrypted stream
	Plain    Kind = "plain"    // not encrypted: a message, perhaps compressed, or anything else
	Key      Kind = "key"      // a key text
	FileDict Kind = "filedict" // Dovecot's file dictionary
	BoltDict Kind = "boltdict" // a bbolt dictionary
	UIDList  Kind = "uidlist"  // dovecot-uidlist
	Mdbox    Kind = "mdbox"    // m.N of mdbox, or u.N of sdbox
	Catalog  Kind = "catalog"  // of an mdbox
	Index    Kind = "index"    // of a Maildir: a cache, of which nothing is told
	Sealed   Kind = "sealed"   // a sealed cache, of which the mailbox is told
	Empty    Kind = "empty"
)

// An Info is what is told of a file. At most one of the pointers is set, as Kind says.
type Info struct {
	Path        string          `json:"path"`
	Kind        Kind            `json:"kind"`
	Size        int64           `json:"size"`
	Compression compress.Method `json:"compression,omitempty"` // of a plain file
	Stream      *StreamInfo     `json:"stream,omitempty"`
	Key         *KeyInfo        `json:"key,omitempty"`
	Dict        *DictInfo       `json:"dict,omitempty"`
	UIDList     *UIDListInfo    `json:"uidlist,omitempty"`
	Mdbox       *MdboxInfo      `json:"mdbox,omitempty"`
	Catalog     *CatalogInfo    `json:"catalog,omitempty"`
	GUID        string          `json:"guid,omitempty"`  // the mailbox of a sealed cache
	Error       string          `json:"error,omitempty"` // what is wrong with the file
}

// A StreamInfo is the header of an encrypted stream.
type StreamInfo struct {
	Version    int             `json:"version"`
	Cipher     string          `json:"cipher"`
	Digest     string          `json:"digest,omitempty"`
	Integrity  string          `json:"integrity"`
	Rounds     int             `json:"rounds,omitempty"`
	HeaderSize int64           `json:"header_size"`
	Recipients []RecipientInfo `json:"recipients"`
	// Decrypted is set where a key opened the stream: its tag was right, where it has one.
	Decrypted *DecryptedInfo `json:"decrypted,omitempty"`
	Error     string         `json:"error,omitempty"`
}

// A RecipientInfo is a key that opens a stream.
type RecipientInfo struct {
	Type string `json:"type"` // rsa or ec
	ID   string `json:"id"`   // the old id in streams of version 1
}

// A DecryptedInfo is what a key tells of a stream.
type DecryptedInfo struct {
	Size        int64           `json:"size"`
	Compression compress.Method `json:"compression,omitempty"`
}

// A MdboxInfo is a file of mdbox.
type MdboxInfo struct {
	Created  time.Time     `json:"created"`
	Messages []MdboxRecord `json:"messages"`
	More     int           `json:"more,omitempty"` // messages that are not listed
}

// A MdboxRecord is one message in it.
type MdboxRecord struct {
	Offset   int64       `json:"offset"`
	Size     int64       `json:"size"`
	GUID     string      `json:"guid"`
	Received time.Time   `json:"received"`
	Physical int64       `json:"physical"` // -1: as stored
	Virtual  int64       `json:"virtual"`  // -1: not known
	Folder   string      `json:"folder,omitempty"`
	Stream   *StreamInfo `json:"stream,omitempty"` // nil: not encrypted
}

// Options are the options of File. The zero value needs no secret.
type Options struct {
	// Keys, where set, open streams, to tell their sizes and what is inside.
	Keys dcrypt.KeyFinder
}

// Bounds of what is listed.
const (
	maxMessages = 10_000
	maxKeyText  = 128 << 10
)

// File looks at a file. What is wrong inside is part of the answer; the error is that of
// opening and reading.
func File(ctx context.Context, path string, o Options) (*Info, error) {
	f, fi, err := durable.OpenRegular(path, 0)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	defer f.Close()
	info := &Info{Path: path, Size: fi.Size()}
	head := make([]byte, min(fi.Size(), 4096))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	info.Kind = guess(filepath.Base(path), head)
	switch info.Kind {
	case Message:
		info.Stream = stream(f, fi.Size(), o)
	case Key:
		info.key(f)
	case BoltDict, FileDict:
		info.dict(ctx, path)
	case Catalog:
		info.catalog(path)
	case Sealed:
		if guid := head[len(sealedMagic):]; len(guid) >= len(mailbox.GUID{}) {
			info.GUID = mailbox.GUID(guid[:len(mailbox.GUID{})]).String()
		}
	case UIDList:
		info.uidlist(f)
	case Mdbox:
		info.mdbox(ctx, f, fi.Size(), o)
	case Plain:
		info.Compression = compress.Detect(head)
	}
	return info, ctx.Err()
}

// guess tells the kind by the first bytes, and by the name where these do not say it.
func guess(name string, head []byte) Kind {
	switch {
	case len(head) == 0:
		return Empty
	case dcrypt.IsEncrypted(head):
		return Message
	case bytes.HasPrefix(head, []byte(sealedMagic)):
		return Sealed
	case attrdict.IsBolt(head) && name == index.CatalogName:
		return Catalog
	case attrdict.IsBolt(head) && name == index.FileName:
		return Index
	case attrdict.IsBolt(head):
		return BoltDict
	case name == "dovecot-uidlist":
		return UIDList
	case bytes.HasPrefix(head, []byte("2 M")) || bytes.HasPrefix(head, []byte("1 M")):
		return Mdbox
	case bytes.HasPrefix(head, []byte("3 V")):
		return UIDList
	case bytes.HasPrefix(head, []byte("priv/")) || bytes.HasPrefix(head, []byte("shared/")):
		return FileDict
	case looksLikeKey(head):
		return Key
	}
	return Plain
}

// stream reads a header, and what a key tells.
func stream(r io.ReaderAt, size int64, o Options) *StreamInfo {
	h, err := dcrypt.ReadHeader(r, size)
	if err != nil {
		return &StreamInfo{Error: err.Error()}
	}
	s := &StreamInfo{Version: h.Version, Cipher: h.Cipher, Digest: h.Digest, Integrity: h.Integrity.String(), Rounds: h.Rounds, HeaderSize: h.Size}
	for _, rec := range h.Recipients {
		kind := "ec"
		if rec.RSA {
			kind = "rsa"
		}
		s.Recipients = append(s.Recipients, RecipientInfo{kind, rec.ID.String()})
	}
	if o.Keys == nil {
		return s
	}
	d, err := dcrypt.Open(r, size, o.Keys)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	defer d.Close()
	head := make([]byte, min(d.Size(), compress.MaxMagic))
	if _, err := d.ReadAt(head, 0); err != nil && err != io.EOF {
		s.Error = err.Error()
		return s
	}
	s.Decrypted = &DecryptedInfo{d.Size(), compress.Detect(head)}
	clear(head)
	return s
}

func (info *Info) mdbox(ctx context.Context, r io.ReaderAt, size int64, o Options) {
	s, err := mfile.NewScanner(r, size)
	if err != nil {
		info.Error = err.Error()
		return
	}
	info.Mdbox = &MdboxInfo{Created: s.Created}
	for ctx.Err() == nil {
		m, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			info.Error = err.Error()
			return
		}
		if len(info.Mdbox.Messages) == maxMessages {
			info.Mdbox.More++
			continue
		}
		rec := MdboxRecord{m.Offset, m.Size, m.GUID, m.Received, m.Physical, m.Virtual, m.Folder, nil}
		body := io.NewSectionReader(r, m.Body, m.Size)
		magic := make([]byte, min(m.Size, int64(dcrypt.MagicLen)))
		if _, err := body.ReadAt(magic, 0); err == nil && dcrypt.IsEncrypted(magic) {
			rec.Stream = stream(body, m.Size, o)
		}
		info.Mdbox.Messages = append(info.Mdbox.Messages, rec)
	}
}

// Damaged reports whether something is wrong with the file, or with what is in it.
func (info *Info) Damaged() bool {
	if info.Error != "" || info.Stream != nil && info.Stream.Error != "" {
		return true
	}
	if info.Dict != nil && slices.ContainsFunc(info.Dict.Attributes, func(a Attribute) bool { return a.Error != "" }) {
		return true
	}
	return info.Mdbox != nil && slices.ContainsFunc(info.Mdbox.Messages, func(r MdboxRecord) bool { return r.Stream != nil && r.Stream.Error != "" })
}
