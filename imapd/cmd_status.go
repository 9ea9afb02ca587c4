package imapd

import (
	"errors"
	"slices"

	"mailcrypt/mailbox"
)

// statusNames are in the order in which STATUS answers, as Dovecot has it.
var statusNames = []string{"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "DELETED", "DELETED-STORAGE", "SIZE", "APPENDLIMIT", "MAILBOXID"}

// status is STATUS (RFC 9051 section 6.3.11). Dovecot calls it a client bug to ask about the
// selected mailbox; clients do, and get an answer.
func (s *session) status(*call) error {
	var name string
	var items []string
	err := s.args(s.mailboxName(&name), func() (err error) {
		items, err = s.statusItems()
		return err
	})
	if err != nil {
		return err
	}
	if err := s.decodeName(&name); err != nil {
		return err
	}
	return s.statusResponse(name, items)
}

// statusItems reads the list of items; one that is asked for twice is answered once.
func (s *session) statusItems() ([]string, error) {
	var items []string
	err := s.dec.List(func() error {
		item, err := s.dec.Keyword()
		if err != nil {
			return err
		}
		if !slices.Contains(statusNames, item) {
			return bad("Unknown STATUS item.")
		}
		if !slices.Contains(items, item) {
			items = append(items, item)
		}
		return nil
	})
	if err == nil && len(items) == 0 {
		err = bad("Empty STATUS list.")
	}
	slices.SortFunc(items, func(a, b string) int { return slices.Index(statusNames, a) - slices.Index(statusNames, b) })
	return items, err
}

// statusResponse sends STATUS of one mailbox.
func (s *session) statusResponse(name string, items []string) error {
	if slices.Contains(items, "HIGHESTMODSEQ") {
		if err := s.enableCondstore(); err != nil {
			return err
		}
	}
	b, err := s.login.Open(s.ctx, name, true)
	if err != nil {
		return err
	}
	defer func() {
		if err := b.Close(); err != nil {
			s.log.Error("closing a mailbox", "err", err)
		}
	}()
	v, err := b.Sync(s.ctx)
	if err != nil {
		return err
	}
	s.writeStatusItems(b, v, name, items)
	return nil
}

// writeStatusItems sends the STATUS line of a view.
func (s *session) writeStatusItems(b box, v *mailbox.View, name string, items []string) {
	// Everything is known before the line begins.
	values := make([]string, len(items))
	for i, item := range items {
		values[i] = s.statusValue(b, v, item)
	}
	s.enc.Raw("* STATUS ").Mailbox(name).Raw(" (")
	for i, item := range items {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Raw(item).SP().Raw(values[i])
	}
	s.enc.Raw(")").CRLF()
}

// statusValue is the text of one item. The numbers are in memory; only SIZE may have to read messages, where no size was recorded.
func (s *session) statusValue(b box, v *mailbox.View, item string) string {
	switch item {
	case "MESSAGES":
		return itoa(int64(v.Len()))
	case "RECENT":
		return itoa(int64(v.Counts().Recent))
	case "UIDNEXT":
		return itoa(int64(v.UIDNext))
	case "UIDVALIDITY":
		return itoa(int64(v.UIDValidity))
	case "UNSEEN":
		return itoa(int64(v.Counts().Unseen))
	case "DELETED":
		return itoa(int64(v.Counts().Deleted))
	case "SIZE":
		return itoa(s.totalSize(b, v, 0))
	case "DELETED-STORAGE":
		return itoa(s.totalSize(b, v, mailbox.Deleted)) // RFC 9208 section 4.1.4
	case "HIGHESTMODSEQ":
		return formatModSeq(s.statusModSeq(b, v))
	case "MAILBOXID":
		return mailboxID(v.GUID)
	default: // APPENDLIMIT
		if limit := s.login.AppendLimit(); limit > 0 {
			return itoa(limit)
		}
		return "NIL"
	}
}

// totalSize is the sum of RFC822.SIZE of messages that have the flags. A message whose size nobody knows and that
// cannot be read counts with what it takes in the store.
func (s *session) totalSize(b box, v *mailbox.View, flags mailbox.SystemFlags) int64 {
	total := int64(0)
	for _, msg := range v.All() {
		if msg.Flags.System&flags != flags {
			continue
		}
		size := msg.Sizes.Virtual
		if size < 0 {
			var err error
			if size, err = b.SizeOf(s.ctx, msg.UID); err != nil {
				size = max(msg.Sizes.Physical, msg.Sizes.Stored, 0)
			}
		}
		total += size
	}
	return total
}

// statusModSeq is HIGHESTMODSEQ, 0 where no modseq may be told (RFC 7162 section 3.1.7). Of the
// selected mailbox it is what the client was told of that.
func (s *session) statusModSeq(b box, v *mailbox.View) mailbox.ModSeq {
	if err := b.SyncModSeqs(s.ctx); err != nil {
		if !errors.Is(err, mailbox.ErrNoModSeqs) {
			s.log.Error("storing modseqs", "err", err)
		}
		return 0
	}
	if m := s.box; m != nil && m.view.GUID == v.GUID {
		return min(m.modseqs.told, v.HighestModSeq)
	}
	return v.HighestModSeq
}
