package dovecotindex

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcrypt/mailbox"
)

// ErrOtherKind reports an index that is not of the kind that was asked for: a mailbox where
// the map was wanted, a Maildir's where mdbox's was.
var ErrOtherKind = errors.New("dovecotindex: index of another kind")

// A Mailbox is what the index of one mailbox says, in the terms of its storage. For mdbox
// and sdbox much of it is nowhere else: UIDs, flags, UIDVALIDITY and the mailbox's GUID.
type Mailbox struct {
	GUID           mailbox.GUID // zero where the index has none: not given yet, or a Maildir
	UIDValidity    uint32
	NextUID        mailbox.UID
	FirstRecentUID mailbox.UID
	HighestModSeq  mailbox.ModSeq
	// MapUIDValidity is, for mdbox, the UIDVALIDITY of the map that Message.MapUID refers
	// to. Where it differs from [Map.UIDValidity], these numbers mean nothing.
	MapUIDValidity uint32
	RebuildCount   uint32 // for sdbox: how often Dovecot has rebuilt the index
	HasUIDLs       bool   // some message of a dbox has a POP3 UIDL in its metadata
	HasPOP3Orders  bool   // some message of a dbox has a POP3 order in its metadata
	Messages       []Message
}

// A Message is a record of a mailbox's index.
type Message struct {
	UID    mailbox.UID
	Flags  mailbox.Flags // with \Recent; messages share the lists of keywords
	ModSeq mailbox.ModSeq
	GUID   mailbox.GUID // mdbox: 128-bit form, see [GUID128]; zero where the index has none
	MapUID uint32       // mdbox: UID in the map; 0 where it was lost
	Saved  time.Time    // mdbox; zero where the index does not have it
	Alt    bool         // sdbox: in alternative storage
	Dirty  bool         // Maildir: the flags are newer than those in the file's name
}

// Extensions of mailboxes. (Dovecot: mdbox-storage.h, sdbox-storage.h.)
const (
	extMdbox       = "mdbox"
	extMdboxHeader = "mdbox-hdr"
	extSdboxHeader = "dbox-hdr"
	extGUID        = "guid"
	extMaildir     = "maildir"
	extVsize       = "vsize"

	dboxHasUIDLs  = 0x01 // flags of both headers
	dboxHasOrders = 0x02
	dboxHeader    = 24
)

// Mdbox returns the mailbox of an mdbox. [ErrOtherKind] says that it is none.
func (x *Index) Mdbox() (*Mailbox, error) {
	e, ok := x.Extension(extMdboxHeader)
	if !ok {
		return nil, fmt.Errorf("%w: no mdbox header", ErrOtherKind)
	}
	m := x.mailbox()
	m.dboxHeader(e.Header, &m.MapUIDValidity)
	rec, _ := x.Extension(extMdbox)
	for i := range m.Messages {
		if b := rec.Record(i); len(b) >= 8 {
			m.Messages[i].MapUID = le.Uint32(b)
			m.Messages[i].Saved = unixTime(le.Uint32(b[4:]))
		}
	}
	return m, nil
}

// Sdbox returns the mailbox of an sdbox. [ErrOtherKind] says that it is none. Messages' GUIDs
// are in their files u.N; when they were saved [ReadCache] may know, or else the ctime of the file.
func (x *Index) Sdbox() (*Mailbox, error) {
	e, ok := x.Extension(extSdboxHeader)
	if !ok {
		return nil, fmt.Errorf("%w: no sdbox header", ErrOtherKind)
	}
	m := x.mailbox()
	m.dboxHeader(e.Header, &m.RebuildCount)
	for i := range m.Messages {
		m.Messages[i].Alt = x.flags[i]&FlagBackend != 0
	}
	return m, nil
}

// Maildir returns the mailbox of a Maildir: GUIDs are in dovecot-uidlist, and flags of
// messages that are not Dirty in the names of the files. An index has no sign of its own
// before Dovecot has looked into the Maildir. [ErrOtherKind] says that it is another one's.
func (x *Index) Maildir() (*Mailbox, error) {
	for _, other := range []string{extMdboxHeader, extSdboxHeader, extMap, extList} {
		if _, ok := x.Extension(other); ok {
			return nil, fmt.Errorf("%w: it has %q", ErrOtherKind, other)
		}
	}
	m := x.mailbox()
	for i := range m.Messages {
		m.Messages[i].Dirty = x.flags[i]&FlagDirty != 0
	}
	return m, nil
}

// mailbox returns what all kinds have in common.
func (x *Index) mailbox() *Mailbox {
	m := &Mailbox{
		UIDValidity: x.UIDValidity, NextUID: x.NextUID, FirstRecentUID: x.FirstRecentUID, HighestModSeq: x.HighestModSeq,
		Messages: make([]Message, x.Len()),
	}
	guid, _ := x.Extension(extGUID)
	lists := map[string][]string{}
	for i := range m.Messages {
		g := &m.Messages[i]
		g.UID, g.ModSeq = x.UID(i), x.ModSeq(i)
		g.Flags.System = mailbox.SystemFlags(x.flags[i] & imapFlags)
		if g.UID >= x.FirstRecentUID {
			g.Flags.System |= mailbox.Recent
		}
		g.Flags.Keywords = x.keywordList(i, lists)
		if b := guid.Record(i); len(b) >= len(g.GUID) {
			copy(g.GUID[:], b)
		}
	}
	return m
}

// keywordList returns a message's keywords as [mailbox.Flags] wants them, one list for all
// messages that have the same.
func (x *Index) keywordList(i int, lists map[string][]string) []string {
	mask := x.mask(i)
	if isZero(mask) {
		return nil
	}
	if l, ok := lists[string(mask)]; ok {
		return l
	}
	l := mailbox.ParseFlags(x.KeywordsOf(i)).Keywords
	lists[string(mask)] = l
	return l
}

// dboxHeader reads the header that mdbox and sdbox have alike but for its first number. Old
// ones are shorter.
func (m *Mailbox) dboxHeader(b []byte, first *uint32) {
	var h [dboxHeader]byte
	copy(h[:], b)
	*first = le.Uint32(h[:])
	copy(m.GUID[:], h[4:])
	m.HasUIDLs, m.HasPOP3Orders = h[20]&dboxHasUIDLs != 0, h[20]&dboxHasOrders != 0
}

// unixTime is a time of 32 bits, of which 0 is none.
func unixTime(n uint32) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}

// GUID128 returns the form in which indexes have a message's GUID: what 32 hexadecimal
// digits say, and of any other text the last 16 bytes of its SHA-1. (Dovecot: guid.c.)
func GUID128(guid string) mailbox.GUID {
	if g, err := mailbox.ParseGUID(guid); err == nil {
		return g
	}
	sum := sha1.Sum([]byte(guid))
	var g mailbox.GUID
	copy(g[:], sum[len(sum)-len(g):])
	return g
}

// A MaildirState is when Dovecot last looked at a Maildir's directories and what it saw.
type MaildirState struct {
	NewChecked, NewModified time.Time
	CurChecked, CurModified time.Time
	UIDListModified         time.Time
	UIDListSize             uint32
}

// MaildirState returns what the index of a Maildir says about its files; ok is false where
// it says nothing. (Dovecot: maildir-storage.h.)
func (x *Index) MaildirState() (s MaildirState, ok bool) {
	e, _ := x.Extension(extMaildir)
	if len(e.Header) < 36 {
		return s, false
	}
	n := func(i int) uint32 { return le.Uint32(e.Header[4*i:]) }
	at := func(sec, nsec uint32) time.Time {
		if sec == 0 {
			return time.Time{}
		}
		return time.Unix(int64(sec), int64(nsec)).UTC()
	}
	return MaildirState{
		NewChecked: unixTime(n(0)), NewModified: at(n(1), n(2)),
		CurChecked: unixTime(n(3)), CurModified: at(n(4), n(5)),
		UIDListModified: at(n(6), n(7)), UIDListSize: n(8),
	}, true
}

// VirtualSize returns the size of message i with CRLF line ends, [mailbox.Unknown] where the
// index does not have it.
func (x *Index) VirtualSize(i int) int64 {
	e, _ := x.Extension(extVsize)
	if b := e.Record(i); len(b) == 4 && le.Uint32(b) != 0 {
		return int64(le.Uint32(b)) - 1
	}
	return mailbox.Unknown
}

// BoxName returns the parts of the mailbox's name as the index has them, in storage encoding;
// nil where it has none. It is for finding a mailbox whose directory is lost, and may be older
// than a rename.
func (x *Index) BoxName() []string {
	e, ok := x.Extension("box-name")
	name := strings.TrimRight(string(e.Header), "\x00")
	if !ok || name == "" {
		return nil
	}
	return slices.Clip(strings.Split(name, "\x00"))
}
