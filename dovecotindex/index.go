package dovecotindex

import (
	"slices"

	"mailcrypt/mailbox"
)

// An Index is the state of one index: of a mailbox, of mdbox's map, or of the list of
// mailboxes. It is not changed once it is read, and safe for concurrent use. Slices that
// its methods return are its own and must not be changed.
type Index struct {
	ID             uint32         // of this index; the cache file has the same
	UIDValidity    uint32         // 0 where none was given yet
	NextUID        mailbox.UID    // the next to be given
	FirstRecentUID mailbox.UID    // this and those behind it are \Recent
	HighestModSeq  mailbox.ModSeq // 0 in an index from before there were modseqs
	HasModSeqs     bool           // messages have modseqs of their own, for a client has asked for them

	LogSeq    uint32 // the place in the log up to which this is the state
	LogOffset uint32
	// LogTail is the place up to which the mail itself was synced: behind it are changes that were
	// asked for and may not have been made in the mail.
	LogTail uint32
	// Unfinished is how many bytes of a transaction that is not complete are behind that place.
	Unfinished int64

	Deleted bool // the mailbox is being deleted, or was: Dovecot opens it no more
	Fscked  bool // Dovecot has repaired the index and has not looked at the mail since
	// Keywords are all keywords that were ever used in this index.
	Keywords []string
	Damage   []*CorruptError // all that was found wrong, at most some hundred

	uids   []uint32
	flags  []uint8
	exts   []*extension
	byName map[string]int
	modseq *extension
	words  *extension
}

// Flags of a record beside the IMAP flags, which have the bits of [mailbox.SystemFlags].
const (
	// FlagBackend belongs to the storage: sdbox marks messages in alternative storage with it.
	FlagBackend = 0x40
	// FlagDirty says, for a Maildir, that the flags here are newer than those in the file's name.
	FlagDirty = 0x80
)

// fill takes the state over.
func (x *Index) fill(s *state, steps []step) {
	h := s.hdr
	x.ID, x.UIDValidity = h.get(hdrIndexID), h.get(hdrUIDValidity)
	x.NextUID, x.FirstRecentUID = mailbox.UID(h.get(hdrNextUID)), mailbox.UID(h.get(hdrFirstRecent))
	x.LogSeq, x.LogOffset, x.LogTail = h.get(hdrLogSeq), h.get(hdrLogHead), h.get(hdrLogTail)
	x.Fscked = h.get(hdrFlags)&0x04 != 0
	x.uids, x.flags, x.exts, x.byName = s.uids, s.flags, s.exts, s.byName
	x.words, x.modseq = s.lookup(extKeywords), s.lookup(extModseq)
	x.Keywords = s.keywords.names
	if m := x.modseq; m != nil && (m.size != 8 || m.hdrSize < 8) {
		x.modseq = nil
	}
	x.HasModSeqs = x.modseq != nil
	for i, st := range steps {
		x.Deleted = st.log.deleted || x.Deleted && !st.log.reverted
		if i == len(steps)-1 {
			if st.log.indexID != 0 {
				x.ID = st.log.indexID
			}
			x.LogSeq, x.LogOffset, x.LogTail = st.log.seq, uint32(st.upto), uint32(s.tail)
			x.Unfinished = int64(len(st.log.b) - st.log.end)
			x.HighestModSeq = mailbox.ModSeq(s.modseq)
		}
	}
	if x.HighestModSeq == 0 && x.modseq != nil {
		x.HighestModSeq = mailbox.ModSeq(le.Uint64(x.modseq.header))
	}
}

// Len is the number of messages.
func (x *Index) Len() int { return len(x.uids) }

// UID returns the UID of message i, counted from 0; UIDs ascend.
func (x *Index) UID(i int) mailbox.UID { return mailbox.UID(x.uids[i]) }

// RawFlags returns the flags of message i as they are stored.
func (x *Index) RawFlags(i int) uint8 { return x.flags[i] }

// Find returns the place of a message.
func (x *Index) Find(uid mailbox.UID) (i int, ok bool) {
	return slices.BinarySearch(x.uids, uint32(uid))
}

// ModSeq returns the modseq of message i. A message without one of its own has the highest
// of the index, at least 1, as Dovecot tells it.
func (x *Index) ModSeq(i int) mailbox.ModSeq {
	if x.modseq != nil {
		if b := x.modseq.at(i); b != nil {
			if n := le.Uint64(b); n != 0 {
				return mailbox.ModSeq(n)
			}
		}
	}
	return max(x.HighestModSeq, 1)
}

// KeywordsOf returns the keywords of message i, in the order of [Index.Keywords].
func (x *Index) KeywordsOf(i int) []string {
	var names []string
	for k := range x.bits(i) {
		names = append(names, x.Keywords[k])
	}
	return names
}

// mask returns the bits of message i's keywords.
func (x *Index) mask(i int) []byte {
	if x.words == nil {
		return nil
	}
	return x.words.at(i)
}

// bits yields the numbers of message i's keywords. Bits without a keyword are skipped.
func (x *Index) bits(i int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for k, c := range x.mask(i) {
			for bit := 0; c != 0; c, bit = c>>1, bit+1 {
				if n := 8*k + bit; c&1 != 0 && n < len(x.Keywords) && !yield(n) {
					return
				}
			}
		}
	}
}

// An Extension is data that some part of Dovecot keeps in an index under a name.
type Extension struct {
	Name    string
	ResetID uint32 // data of another reset id are worthless; of "cache" the number of the cache file
	Header  []byte
	Size    int // bytes of a record
	Align   int

	x *extension
}

// Extension returns an extension by name; ok is false where there is none.
func (x *Index) Extension(name string) (e Extension, ok bool) {
	i, ok := x.byName[name]
	if !ok {
		return e, false
	}
	return x.exts[i].public(), true
}

// Extensions returns all extensions in the order of their numbers. The header of "keywords"
// is empty where it was not read from a snapshot: see [Index.Keywords].
func (x *Index) Extensions() []Extension {
	all := make([]Extension, len(x.exts))
	for i, e := range x.exts {
		all[i] = e.public()
	}
	return all
}

func (x *extension) public() Extension {
	return Extension{x.name, x.resetID, x.header[:x.hdrSize:x.hdrSize], x.size, x.align, x}
}

// Record returns the data of message i, nil where they are all zero.
func (e Extension) Record(i int) []byte {
	if e.x == nil {
		return nil
	}
	return e.x.at(i)
}
