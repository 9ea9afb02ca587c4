package dovecotindex

// Types of log records. (Dovecot: mail-transaction-log.h.)
const (
	typeAppend        = 0x2
	typeFlagUpdate    = 0x4
	typeHeaderUpdate  = 0x20
	typeExtIntro      = 0x40
	typeExtReset      = 0x80
	typeExtHeader     = 0x100
	typeExtRecord     = 0x200
	typeKeywordUpdate = 0x400
	typeKeywordReset  = 0x800
	typeIncrement     = 0x1000
	typeModseqUpdate  = 0x8000
	typeExtHeader32   = 0x10000
	typeDeleted       = 0x20000
	typeUndeleted     = 0x40000
	typeBoundary      = 0x80000
	typeAttribute     = 0x100000

	// An expunge says so twice, so that no damaged byte removes mail.
	expungeGuard    = 0xcd90
	typeExpunge     = 0x1 | expungeGuard
	typeExpungeGUID = 0x2000 | expungeGuard

	typeMask     = 0x0fffffff
	typeExternal = 0x10000000 // it has happened; else it is wanted
)

const (
	logMajor      = 1
	logMinor      = 3
	logHeaderSize = 40
	minLogHeader  = 24
	recordHeader  = 8
	introSize     = 20
)

// A logFile is a transaction log: its header, and how far its records are complete.
type logFile struct {
	name string // suffix
	b    []byte

	minor      uint8
	hdrSize    int
	indexID    uint32 // 0: Dovecot has marked the file as damaged
	seq        uint32
	prevSeq    uint32
	prevOffset uint32
	initial    uint64 // modseq

	end      int           // behind the last complete transaction
	deleted  bool          // the mailbox is being deleted
	reverted bool          // a deletion was taken back, perhaps one of an earlier file
	damage   *CorruptError // where framing ends for good
}

// A record is one record of a log.
type record struct {
	at   int    // offset of its header
	typ  uint32 // with flags
	data []byte
}

func (r record) kind() uint32   { return r.typ & typeMask }
func (r record) external() bool { return r.typ&typeExternal != 0 }

// parseLog reads the header and finds the end. The error says that nothing of the file can
// be used.
func parseLog(name string, b []byte) (*logFile, *CorruptError) {
	bad := func(reason string) (*logFile, *CorruptError) { return nil, &CorruptError{name, 0, reason} }
	if len(b) < minLogHeader {
		return bad("file is shorter than the header of a log")
	}
	if b[0] != logMajor {
		return bad("log of an unknown version")
	}
	l := &logFile{name: name, b: b, minor: b[1], hdrSize: int(le.Uint16(b[2:]))}
	if l.hdrSize < minLogHeader || l.hdrSize > len(b) || l.hdrSize%4 != 0 {
		return bad("bad size of the log's header")
	}
	var h [logHeaderSize]byte // fields that an old header has not are zero
	copy(h[:], b[:l.hdrSize])
	if l.minor >= 2 && h[32] != compatLittle {
		return bad("log of a big-endian machine")
	}
	l.indexID, l.seq = le.Uint32(h[4:]), le.Uint32(h[8:])
	l.prevSeq, l.prevOffset, l.initial = le.Uint32(h[12:]), le.Uint32(h[16:]), le.Uint64(h[24:])
	l.scan()
	return l, nil
}

// scan finds the end of what is complete: a record whose size is not written yet, or whose
// transaction goes beyond the file, is being written, or its writer was killed.
func (l *logFile) scan() {
	l.end = l.hdrSize
	for {
		r, ok, err := l.next(l.end)
		if err != nil {
			l.damage = err
		}
		if !ok {
			return
		}
		end := r.at + recordHeader + len(r.data)
		if r.external() {
			switch r.kind() {
			case typeBoundary:
				if len(r.data) < 4 {
					l.damage = &CorruptError{l.name, int64(r.at), "boundary without a size"}
					return
				}
				if int64(le.Uint32(r.data)) > int64(len(l.b)-r.at) {
					return
				}
			case typeDeleted:
				l.deleted, l.reverted = true, false
			case typeUndeleted:
				l.deleted, l.reverted = false, true
			}
		}
		l.end = end
	}
}

// next returns the record at an offset; ok is false where it is not complete.
func (l *logFile) next(at int) (r record, ok bool, _ *CorruptError) {
	rest := l.b[at:]
	if len(rest) < recordHeader {
		return r, false, nil
	}
	n := recordSize(rest)
	if n == 0 {
		return r, false, nil
	}
	if n < recordHeader {
		return r, false, &CorruptError{l.name, int64(at), "record shorter than its header"}
	}
	if n > len(rest) {
		return r, false, nil
	}
	return record{at, le.Uint32(rest[4:]), rest[recordHeader:n]}, true, nil
}
