package dovecotindex

import (
	"fmt"
	"slices"
)

// A Map is mdbox's map index: where each message is, and how many mailbox records refer to it.
type Map struct {
	UIDValidity   uint32 // mailboxes name it, see [Mailbox.MapUIDValidity]
	NextUID       uint32
	HighestFileID uint32 // of a file m.N; 0 where there was none
	RebuildCount  uint32
	// Inconsistent says that a change was not completed, for the log has more than the index says
	// was synced. Dovecot then rebuilds the map from the files.
	Inconsistent bool
	Messages     []MapMessage // UIDs ascend
}

// A MapMessage is one message of an mdbox.
type MapMessage struct {
	UID    uint32 // in the map, for mailboxes to refer to
	FileID uint32 // in m.<FileID>
	Offset uint32 // of the message's header there
	Size   uint32 // with its header and metadata; 2.4 has 0 for a last message beyond 4 GiB
	Refs   uint16 // 0: expunged, to be purged
}

// Extensions of the map. (Dovecot: mdbox-map.h.)
const (
	extMap = "map"
	extRef = "ref"
)

// Map returns mdbox's map. [ErrOtherKind] says that the index is another one.
func (x *Index) Map() (*Map, error) {
	e, ok := x.Extension(extMap)
	if !ok {
		return nil, fmt.Errorf("%w: no map header", ErrOtherKind)
	}
	ref, _ := x.Extension(extRef)
	m := &Map{UIDValidity: x.UIDValidity, NextUID: uint32(x.NextUID), Messages: make([]MapMessage, x.Len())}
	m.Inconsistent = x.LogTail != x.LogOffset
	var h [8]byte
	copy(h[:], e.Header)
	m.HighestFileID, m.RebuildCount = le.Uint32(h[:]), le.Uint32(h[4:])
	for i := range m.Messages {
		g := &m.Messages[i]
		g.UID = uint32(x.UID(i))
		if b := e.Record(i); len(b) >= 12 {
			g.FileID, g.Offset, g.Size = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
		}
		if b := ref.Record(i); len(b) >= 2 {
			g.Refs = le.Uint16(b)
		}
	}
	return m, nil
}

// Find returns the message of a map UID.
func (m *Map) Find(uid uint32) (MapMessage, bool) {
	i, ok := slices.BinarySearchFunc(m.Messages, uid, func(g MapMessage, uid uint32) int {
		switch {
		case g.UID < uid:
			return -1
		case g.UID > uid:
			return 1
		}
		return 0
	})
	if !ok {
		return MapMessage{}, false
	}
	return m.Messages[i], true
}
