package imapd

import (
	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// maxVanished is about the most octets of one VANISHED response: RFC 7162 section 4 speaks of
// lines of 8192. More UIDs come in further responses.
const maxVanished = 8000

// writeVanished sends VANISHED; middle is " " or " (EARLIER) ". Nothing is sent for no UIDs.
func (s *session) writeVanished(middle string, ranges []imapwire.Range) {
	for len(ranges) > 0 {
		s.enc.Raw("* VANISHED").Raw(middle)
		for n := 0; n < maxVanished && len(ranges) > 0; ranges = ranges[1:] {
			if n > 0 {
				s.enc.Raw(",")
			}
			word := formatRange(ranges[0])
			s.enc.Raw(word)
			n += len(word) + 1
		}
		s.enc.CRLF()
	}
}

// formatRange writes a range the short way.
func formatRange(r imapwire.Range) string {
	if r.Start == r.Stop {
		return itoa(int64(r.Start))
	}
	return itoa(int64(r.Start)) + ":" + itoa(int64(r.Stop))
}

// uidRanges turns sorted UIDs into ranges.
func uidRanges(uids []mailbox.UID) (out []imapwire.Range) {
	for _, uid := range uids {
		out = addUIDs(out, uint32(uid), uint32(uid))
	}
	return out
}

// addUIDs adds first to last, which are above all that is there.
func addUIDs(out []imapwire.Range, first, last uint32) []imapwire.Range {
	if n := len(out); n > 0 && out[n-1].Stop+1 == first {
		out[n-1].Stop = last
		return out
	}
	return append(out, imapwire.Range{Start: first, Stop: last})
}

// vanishedSince finds which UIDs among those that the client asks about were expunged with
// a modseq above since. Where the store does not know any more, it is all that do not exist:
// the client drops what it does not have anyway. What the announced view still holds is told
// later, by VANISHED without EARLIER. seen is the highest UID below which the client is known
// to have heard of every expunge; it matters only where the store does not know.
func (s *session) vanishedSince(since mailbox.ModSeq, among []imapwire.Range, seen mailbox.UID) []imapwire.Range {
	v := s.box.view
	uids, complete, err := s.box.box.Expunged(s.ctx, since)
	if err != nil {
		s.log.Error("looking up expunged messages", "err", err)
	}
	if err != nil || !complete {
		return missing(v, among, seen)
	}
	var out []imapwire.Range
	for _, uid := range uids {
		if uid >= v.UIDNext || !inRanges(among, uint32(uid)) {
			continue
		}
		if _, ok := v.Find(uid); !ok {
			out = addUIDs(out, uint32(uid), uint32(uid))
		}
	}
	return out
}

// missing returns the UIDs of the ranges that are above seen, below UIDNEXT and not in the
// view. The work is linear in the messages and ranges, however much a range spans.
func missing(v *mailbox.View, among []imapwire.Range, seen mailbox.UID) (out []imapwire.Range) {
	for _, r := range among {
		next := max(r.Start, uint32(seen)+1)
		stop := min(r.Stop, uint32(v.UIDNext)-1)
		i, _ := v.Find(mailbox.UID(next))
		for ; i < v.Len() && uint32(v.At(i).UID) <= stop; i++ {
			uid := uint32(v.At(i).UID)
			if next < uid {
				out = addUIDs(out, next, uid-1)
			}
			next = uid + 1
		}
		if next <= stop {
			out = addUIDs(out, next, stop)
		}
	}
	return out
}
