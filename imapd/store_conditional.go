package imapd

import (
	"slices"

	"mailcrypt/imapd/imapwire"
	"mailcrypt/mailbox"
)

// storeModifiers reads the modifiers of STORE, of which there is one (RFC 7162 section 3.1.3).
func storeModifiers(d *imapwire.Decoder) (since *mailbox.ModSeq, err error) {
	err = d.List(func() error {
		name, err := d.Keyword()
		if err != nil {
			return err
		}
		if name != "UNCHANGEDSINCE" || since != nil {
			return bad("Unknown or repeated STORE modifier.")
		}
		if err := d.SP(); err != nil {
			return err
		}
		n, err := modSeqArg(d)
		since = &n
		return err
	})
	return since, err
}

// changeFlags changes flags and returns the messages, sorted, that UNCHANGEDSINCE kept from
// it. There is one modseq a message, not one a flag: where it has risen by other flags than
// those of the change, the change is tried again, as RFC 7162 section 3.1.12 advises.
func (s *session) changeFlags(uids []mailbox.UID, change mailbox.FlagChange) ([]mailbox.UID, error) {
	modified, err := s.box.box.SetFlags(s.ctx, uids, change)
	if err != nil || len(modified) == 0 || change.Op == mailbox.ReplaceFlags {
		return modified, err
	}
	now := s.box.box.View()
	var again []mailbox.UID
	for _, uid := range modified {
		if old, msg := s.box.view.Get(uid), now.Get(uid); old != nil && msg != nil && spurious(change, old, msg) {
			again = append(again, uid)
		}
	}
	if len(again) == 0 {
		return modified, nil
	}
	// What changes after now has a modseq above all of it.
	change.UnchangedSince = &now.HighestModSeq
	still, err := s.box.box.SetFlags(s.ctx, again, change)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(modified, func(uid mailbox.UID) bool {
		_, tried := slices.BinarySearch(again, uid)
		_, refused := slices.BinarySearch(still, uid)
		return tried && !refused
	}), nil
}

// spurious reports whether the refusal of a change is due to other flags alone. old is what
// the client was told, and it must know that much: the state before is not known here. A
// keyword that a message does not have does not exist, and its modseq is 0.
func spurious(change mailbox.FlagChange, old, now *mailbox.Message) bool {
	since := *change.UnchangedSince
	if since == 0 {
		return change.Flags.System == 0 && change.Op == mailbox.AddFlags && !hasAny(now.Flags, change.Flags.Keywords)
	}
	if since < old.ModSeq || (old.Flags.System^now.Flags.System)&change.Flags.System != 0 {
		return false
	}
	for _, k := range change.Flags.Keywords {
		if old.Flags.HasKeyword(k) != now.Flags.HasKeyword(k) {
			return false
		}
	}
	return true
}

// hasAny reports whether one of the keywords is set.
func hasAny(f mailbox.Flags, keywords []string) bool {
	return slices.ContainsFunc(keywords, f.HasKeyword)
}
