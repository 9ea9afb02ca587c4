package dovecotindex

import (
	"slices"

	"mailcrypt/mailbox"
)

// MdboxLog returns a dovecot.index.log that is the mailbox of an mdbox: with it alone, beside
// a map from [Map.Log] and the files m.N, Dovecot serves the mailbox. Messages ascend by UID;
// each has its MapUID, and MapUIDValidity is the map's. A message's ModSeq of 0 counts as 1.
//
// With MapUIDValidity and MapUIDs of 0 there need be no map: "doveadm force-resync" then finds
// messages by their GUIDs.
func (m *Mailbox) MdboxLog(o LogOptions) ([]byte, error) {
	w := newBuilder(o)
	m.begin(w, extMdboxHeader, m.MapUIDValidity)
	w.extension(extMdbox, 0, 8, 4)
	w.extRecords(len(m.Messages), func(i int) (uint32, []byte) {
		g := &m.Messages[i]
		return uint32(g.UID), le.AppendUint32(le.AppendUint32(nil, g.MapUID), stamp(g.Saved))
	})
	w.extension(extGUID, 0, len(mailbox.GUID{}), 1)
	w.extRecords(len(m.Messages), func(i int) (uint32, []byte) { return uint32(m.Messages[i].UID), m.Messages[i].GUID[:] })
	return m.end(w)
}

// SdboxLog returns a dovecot.index.log that is the mailbox of an sdbox: with it, beside files
// u.<UID>, Dovecot serves the mailbox.
func (m *Mailbox) SdboxLog(o LogOptions) ([]byte, error) {
	w := newBuilder(o)
	m.begin(w, extSdboxHeader, m.RebuildCount)
	return m.end(w)
}

// begin writes what the two kinds have in common, up to the messages.
func (m *Mailbox) begin(w *builder, header string, first uint32) {
	if m.UIDValidity == 0 {
		w.fail("no UIDVALIDITY")
	}
	if m.GUID.IsZero() {
		w.fail("no GUID of the mailbox")
	}
	w.header(hdrUIDValidity, m.UIDValidity)
	h := make([]byte, 0, dboxHeader)
	h = append(le.AppendUint32(h, first), m.GUID[:]...)
	h = h[:dboxHeader]
	if m.HasUIDLs {
		h[20] |= dboxHasUIDLs
	}
	if m.HasPOP3Orders {
		h[20] |= dboxHasOrders
	}
	w.extension(header, dboxHeader, 0, 0)
	w.extHeader(h)
	w.appends(len(m.Messages), func(i int) (uint32, uint8) {
		g := &m.Messages[i]
		flags := uint8(g.Flags.System) & imapFlags
		if g.Alt {
			flags |= FlagBackend
		}
		return uint32(g.UID), flags
	})
}

// end writes keywords, the UIDs to come, and modseqs.
func (m *Mailbox) end(w *builder) ([]byte, error) {
	var names []string // in the order of their first use
	uids := map[string][]uint32{}
	var next mailbox.UID
	highest := m.HighestModSeq
	for i := range m.Messages {
		g := &m.Messages[i]
		for _, k := range g.Flags.Keywords {
			if uids[k] == nil {
				names = append(names, k)
			}
			uids[k] = append(uids[k], uint32(g.UID))
		}
		next, highest = g.UID+1, max(highest, g.ModSeq)
	}
	for _, k := range names {
		w.keyword(k, uids[k])
	}
	next = max(next, m.NextUID, 1)
	w.header(hdrNextUID, uint32(next))
	w.header(hdrFirstRecent, uint32(min(max(m.FirstRecentUID, 1), next)))
	w.modseqs(uint64(highest), len(m.Messages), func(i int) (uint32, uint64) {
		return uint32(m.Messages[i].UID), uint64(m.Messages[i].ModSeq)
	})
	return w.finish()
}

// Log returns a dovecot.map.index.log that is the map. Messages ascend by UID.
func (m *Map) Log(o LogOptions) ([]byte, error) {
	w := newBuilder(o)
	if m.UIDValidity == 0 {
		w.fail("no UIDVALIDITY of the map")
	}
	w.header(hdrUIDValidity, m.UIDValidity)
	highest, next := m.HighestFileID, max(m.NextUID, 1)
	for _, g := range m.Messages {
		highest, next = max(highest, g.FileID), max(next, g.UID+1)
		if g.FileID == 0 {
			w.fail("map UID %d is in no file", g.UID)
		}
	}
	w.extension(extMap, 8, 12, 4)
	w.extHeader(le.AppendUint32(le.AppendUint32(nil, highest), m.RebuildCount))
	w.appends(len(m.Messages), func(i int) (uint32, uint8) { return m.Messages[i].UID, 0 })
	w.extRecords(len(m.Messages), func(i int) (uint32, []byte) {
		g := m.Messages[i]
		return g.UID, le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, g.FileID), g.Offset), g.Size)
	})
	w.extension(extRef, 0, 2, 2)
	w.extRecords(len(m.Messages), func(i int) (uint32, []byte) {
		return m.Messages[i].UID, le.AppendUint16(nil, m.Messages[i].Refs)
	})
	w.header(hdrNextUID, next)
	return w.finish()
}

// Log returns a dovecot.list.index.log that is the list. It is needed only for the layout
// "index"; elsewhere Dovecot makes a list from the file system. Mailboxes ascend by ID, and
// of each the last level of its name and its Parent are written.
func (l *List) Log(o LogOptions) ([]byte, error) {
	w := newBuilder(o)
	w.header(hdrUIDValidity, le.Uint32(w.b[20:])) // when it was made
	names, ids := []byte{0}, map[string]uint32{}
	if l.Refresh {
		names[0] = 1
	}
	known := map[uint32]bool{0: true}
	for _, m := range l.Mailboxes {
		known[m.ID] = true
		if len(m.Name) == 0 || slices.Contains([]byte(m.Name[len(m.Name)-1]), 0) {
			w.fail("mailbox %d without a proper name", m.ID)
			continue
		}
		if name := m.Name[len(m.Name)-1]; ids[name] == 0 {
			ids[name] = uint32(len(ids) + 1)
			names = append(append(le.AppendUint32(names, ids[name]), name...), 0)
		}
	}
	for _, m := range l.Mailboxes {
		if !known[m.Parent] {
			w.fail("mailbox %d is below %d, which is not there", m.ID, m.Parent)
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	w.extension(extList, len(names), listRecord, 4)
	w.extHeader(names)
	w.appends(len(l.Mailboxes), func(i int) (uint32, uint8) { return l.Mailboxes[i].ID, l.Mailboxes[i].flags() })
	w.extRecords(len(l.Mailboxes), func(i int) (uint32, []byte) {
		m := l.Mailboxes[i]
		b := le.AppendUint32(le.AppendUint32(nil, ids[m.Name[len(m.Name)-1]]), m.Parent)
		return m.ID, le.AppendUint32(append(b, m.GUID[:]...), m.UIDValidity)
	})
	return w.finish()
}

func (m *ListedMailbox) flags() (f uint8) {
	for _, b := range []struct {
		set  bool
		flag uint8
	}{{m.Nonexistent, listNonexistent}, {m.NoSelect, listNoSelect}, {m.NoInferiors, listNoInferiors}, {m.BadName, listBadName}} {
		if b.set {
			f |= b.flag
		}
	}
	return f
}
