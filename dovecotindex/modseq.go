package dovecotindex

// extModseq has the modseqs of messages, and in its header the highest one with the place
// in the log that it is of. It exists once a client has asked for modseqs.
const extModseq = "modseq"

// tick moves the counter over a record. It counts records, not messages: appends, expunges
// that have happened, changes of keywords and attributes, and changes of flags that
// clients see. A counter of 0 is that of a log from before there were modseqs; it begins
// where the extension is introduced by name. (Dovecot: mail_transaction_update_modseq.)
func (l *logFile) tick(counter uint64, r record) uint64 {
	if counter == 0 {
		if r.kind() == typeExtIntro && len(r.data) >= introSize && le.Uint16(r.data[18:]) == uint16(len(extModseq)) &&
			len(r.data) >= introSize+len(extModseq) && string(r.data[introSize:introSize+len(extModseq)]) == extModseq {
			return 1
		}
		return 0
	}
	switch r.kind() {
	case typeExpunge, typeExpungeGUID:
		if !r.external() {
			return counter
		}
		return counter + 1
	case typeAppend, typeKeywordUpdate, typeKeywordReset, typeAttribute:
		return counter + 1
	case typeFlagUpdate:
		if l.minor < 3 {
			return counter + 1
		}
		for b := r.data; len(b) >= 12; b = b[12:] {
			if !internalFlags(b) {
				return counter + 1
			}
		}
	case typeModseqUpdate:
		for b := r.data; len(b) >= 12; b = b[12:] {
			counter = max(counter, le.Uint64(b[4:]))
		}
	}
	return counter
}

// internalFlags says whether an item of a flag update concerns flags that no client sees.
func internalFlags(item []byte) bool { return (item[8]|item[9])&imapFlags == 0 && item[10] == 0 }

// imapFlags are \Answered, \Flagged, \Deleted, \Seen, \Draft.
const imapFlags = 0x1f

// startTracking begins to follow the modseqs of messages, once the extension has its
// header. All messages that have none get the highest modseq of that time, for it may have
// been told to clients. (Dovecot: mail_index_modseq_sync_init.)
func (s *state) startTracking(x *extension) error {
	if s.tracking || x.size != 8 || x.hdrSize < 8 {
		return nil
	}
	s.tracking = true
	highest := le.Uint64(x.header)
	if highest == 0 {
		return nil
	}
	for i := range s.uids {
		rec, err := s.writable(x, i)
		if err != nil {
			return err
		}
		if le.Uint64(rec) == 0 {
			le.PutUint64(rec, highest)
		}
	}
	return nil
}

// touch raises the modseq of the message at i to that of the record that changes it.
func (s *state) touch(i int) {
	if !s.tracking {
		return
	}
	x := s.lookup(extModseq)
	if x == nil || x.size != 8 {
		return
	}
	if rec, err := s.writable(x, i); err == nil && le.Uint64(rec) < s.modseq {
		le.PutUint64(rec, s.modseq)
	}
}

// setModseq gives a message a modseq that is not below its present one.
func (s *state) setModseq(uid uint32, modseq uint64) error {
	if uid == 0 {
		return nil // only the counter is meant
	}
	i, ok := s.find(uid)
	if !ok {
		return nil
	}
	x := s.lookup(extModseq)
	if x == nil || x.size != 8 {
		return unfit("modseq of UID %d before modseqs were enabled", uid)
	}
	rec, err := s.writable(x, i)
	if err != nil {
		return err
	}
	if le.Uint64(rec) <= modseq {
		le.PutUint64(rec, modseq)
	}
	return nil
}
