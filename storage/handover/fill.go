package handover

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

func sortStored(list []*stored) {
	slices.SortFunc(list, func(a, b *stored) int {
		return cmp.Or(cmp.Compare(a.place.File, b.place.File), cmp.Compare(a.place.Offset, b.place.Offset))
	})
}

// count completes the report.
func (p *plan) count() {
	for _, m := range p.stored {
		p.report.Bytes += m.size
		if m.refs > 0 {
			p.report.Stored++
		} else {
			p.report.Expunged++
		}
	}
	for _, b := range p.boxes {
		p.report.Mailboxes = append(p.report.Mailboxes, MailboxReport{Name: b.key, GUID: b.m.GUID.String(),
			UIDValidity: b.m.UIDValidity, UIDNext: uint32(b.next()), Messages: len(b.messages)})
	}
}

// next is the UID that a mailbox gives next.
func (b *boxPlan) next() mailbox.UID {
	next := max(b.m.NextUID, 1)
	if n := len(b.messages); n > 0 {
		next = max(next, b.messages[n-1].UID+1)
	}
	return next
}

// fill writes the catalog.
func (p *plan) fill(ctx context.Context, tx *index.CatalogTx) error {
	meta, err := tx.Meta()
	if err != nil {
		return err
	}
	meta.NextMapUID = p.nextMap
	if m := p.src.maps; m != nil {
		if m.UIDValidity != 0 {
			meta.MapValidity = m.UIDValidity
		}
		meta.HighestFile, meta.Rebuilds = m.HighestFileID, m.RebuildCount
	}
	if err := tx.SetMeta(meta); err != nil {
		return err
	}
	for _, m := range p.stored {
		f := p.files[m.place.File]
		f.End = max(f.End, uint32(m.place.End()))
		p.files[m.place.File] = f
	}
	for _, f := range p.files {
		if err := tx.PutFile(f); err != nil {
			return err
		}
	}
	slices.SortFunc(p.stored, func(a, b *stored) int { return cmp.Compare(a.mapUID, b.mapUID) })
	for i, m := range p.stored {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := tx.PutMap(m.record()); err != nil {
			return err
		}
		p.o.Progress("writing the catalog", i+1, len(p.stored))
	}
	for _, b := range p.boxes {
		if err := b.fill(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// record is a message's entry. Of sizes what is said beside the message is believed, as
// Dovecot does.
func (m *stored) record() index.MapRecord {
	r := index.MapRecord{MapUID: m.mapUID, Place: index.Place(m.place), Received: m.meta.Received,
		Physical: m.meta.Physical, Virtual: m.meta.Virtual, Stored: m.size, GUID: m.meta.GUID}
	if r.Received.IsZero() {
		r.Received = time.Unix(0, 0) // as Dovecot has it
	}
	if m.read && r.Physical < 0 {
		r.Physical = m.size
	}
	return r
}

func (b *boxPlan) fill(ctx context.Context, tx *index.CatalogTx) error {
	state := index.CatalogMailbox{GUID: b.m.GUID, UIDValidity: b.m.UIDValidity, UIDNext: b.next(),
		HighestModSeq: max(b.m.HighestModSeq, 1), FirstRecent: max(b.m.FirstRecentUID, 1)}
	if err := tx.RestoreMailbox(b.key, state); err != nil {
		return err
	}
	for _, m := range b.messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := m.at.record()
		flags := m.Flags
		flags.System &^= mailbox.Recent
		err := tx.PutMessage(b.m.GUID, index.CatalogMessage{MapUID: m.at.mapUID, Record: index.Record{UID: m.UID,
			ModSeq: max(m.ModSeq, 1), Flags: flags, Physical: r.Physical, Virtual: r.Virtual, Saved: m.Saved}})
		if err != nil {
			return err
		}
	}
	return nil
}

func sorted(uids []mailbox.UID) []mailbox.UID {
	slices.Sort(uids)
	return uids
}
