package dovecotindex

import (
	"bytes"
	"fmt"
	"strings"

	"mailcrypt/mailbox"
)

// A List is dovecot.list.index: the names of mailboxes and what was last known of them. It is
// a cache that may be older than the mailboxes, but for the layout "index", where names are
// nowhere else.
type List struct {
	Refresh   bool // Dovecot looks at the file system before it believes this
	Mailboxes []ListedMailbox
}

// A ListedMailbox is one level of the hierarchy.
type ListedMailbox struct {
	ID          uint32   // of this level; it stays when a mailbox of the name is made anew
	Parent      uint32   // ID of the level above, 0 for none
	Name        []string // the levels from the top, in storage encoding
	GUID        mailbox.GUID
	UIDValidity uint32 // 0 where it is not known, and with GUID where there is no mailbox
	Nonexistent bool   // a level that is there only because there is something below it
	NoSelect    bool
	NoInferiors bool
	BadName     bool // Dovecot found the name damaged and has made one up

	// What STATUS says, where Status is set.
	Status           bool
	Messages, Unseen uint32
	Recent           uint32
	NextUID          mailbox.UID
	HighestModSeq    mailbox.ModSeq // 0 where it is not known
}

// Extensions of the list. (Dovecot: mailbox-list-index.h.)
const (
	extList        = "list"
	extListMsgs    = "msgs"
	extListHmodseq = "hmodseq"

	listRecord = 28

	listNonexistent = uint8(mailbox.Deleted) // flags of records have another meaning here
	listNoSelect    = uint8(mailbox.Draft)
	listNoInferiors = uint8(mailbox.Answered)
	listBadName     = uint8(mailbox.Seen)
)

// maxLevels bounds the depth of the hierarchy that is followed.
const maxLevels = 255

// List returns the list of mailboxes. [ErrOtherKind] says that the index is another one. With
// a *[CorruptError] the list is what could be made out; levels without a name or a way to the
// top are left out of it.
func (x *Index) List() (*List, error) {
	e, ok := x.Extension(extList)
	if !ok {
		return nil, fmt.Errorf("%w: no header of a list", ErrOtherKind)
	}
	l := &List{Refresh: len(e.Header) > 0 && e.Header[0] != 0}
	names, damage := listNames(e.Header)
	msgs, _ := x.Extension(extListMsgs)
	hmodseq, _ := x.Extension(extListHmodseq)
	own := map[uint32]string{} // name of a level by its id
	parents := map[uint32]uint32{}
	all := make([]ListedMailbox, 0, x.Len())
	for i := range x.Len() {
		b := e.Record(i)
		if len(b) < listRecord {
			damage = badList("a mailbox without a record")
			continue
		}
		m := ListedMailbox{ID: uint32(x.UID(i)), Parent: le.Uint32(b[4:]), UIDValidity: le.Uint32(b[24:])}
		copy(m.GUID[:], b[8:])
		f := x.flags[i]
		m.Nonexistent, m.NoSelect = f&listNonexistent != 0, f&listNoSelect != 0
		m.NoInferiors, m.BadName = f&listNoInferiors != 0, f&listBadName != 0
		m.status(msgs.Record(i), hmodseq.Record(i))
		name, ok := names[le.Uint32(b)]
		if !ok {
			damage = badList("a mailbox without a name")
			continue
		}
		own[m.ID], parents[m.ID] = name, m.Parent
		all = append(all, m)
	}
	for _, m := range all {
		if m.Name = path(m.ID, own, parents); m.Name == nil {
			damage = badList("a mailbox whose parent is missing, or below itself")
			continue
		}
		l.Mailboxes = append(l.Mailboxes, m)
	}
	if damage != nil {
		return l, damage
	}
	return l, nil
}

func badList(reason string) *CorruptError { return &CorruptError{"list of mailboxes", 0, reason} }

func (m *ListedMailbox) status(msgs, hmodseq []byte) {
	if len(msgs) >= 16 {
		m.Status = true
		m.Messages, m.Unseen, m.Recent = le.Uint32(msgs), le.Uint32(msgs[4:]), le.Uint32(msgs[8:])
		m.NextUID = mailbox.UID(le.Uint32(msgs[12:]))
	}
	if len(hmodseq) >= 8 {
		m.HighestModSeq = mailbox.ModSeq(le.Uint64(hmodseq))
	}
}

// listNames reads the header: a byte, then without padding numbers that ascend, each with a
// name that ends with NUL. What is behind the names is zero.
func listNames(b []byte) (map[uint32]string, *CorruptError) {
	names := map[uint32]string{}
	if len(b) == 0 {
		return names, nil
	}
	var prev uint32
	for b = b[1:]; len(b) > 0; {
		if len(b) < 4 {
			if isZero(b) {
				break
			}
			return names, badList("the names end too early")
		}
		id := le.Uint32(b)
		if id == 0 {
			break
		}
		n := bytes.IndexByte(b[4:], 0)
		if id <= prev || n < 0 {
			return names, badList("the names are damaged")
		}
		names[id], prev = string(b[4:4+n]), id
		b = b[4+n+1:]
	}
	return names, nil
}

// path follows a level to the top; nil says that there is no way, or a circle.
func path(id uint32, own map[uint32]string, parents map[uint32]uint32) (levels []string) {
	for ; id != 0; id = parents[id] {
		name, ok := own[id]
		if !ok || len(levels) == maxLevels {
			return nil
		}
		levels = append(levels, name)
	}
	for i, j := 0, len(levels)-1; i < j; i, j = i+1, j-1 {
		levels[i], levels[j] = levels[j], levels[i]
	}
	return levels
}

// FullName joins the levels with a layout's separator: the storage name.
func (m *ListedMailbox) FullName(sep byte) string { return strings.Join(m.Name, string(sep)) }
