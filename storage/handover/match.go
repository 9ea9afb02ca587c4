package handover

import (
	"context"
	"fmt"

	"mailcrypt/dovecotindex"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// matchBox finds the messages of a mailbox.
func (p *plan) matchBox(ctx context.Context, b *sourceBox) error {
	to := &boxPlan{sourceBox: b}
	p.boxes = append(p.boxes, to)
	known := p.src.maps != nil && b.m.MapUIDValidity == p.src.maps.UIDValidity
	if !known && len(b.m.Messages) > 0 && p.src.maps != nil {
		p.note("mailbox %s belongs to another map: its messages are looked for by their GUIDs", b.key)
	}
	for _, msg := range b.m.Messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		var at *stored
		if known {
			at = p.byMap[msg.MapUID]
		}
		p.take(to, msg, at)
	}
	return nil
}

// take puts a message into a mailbox, from where the map has it, or from where its GUID was
// found.
func (p *plan) take(to *boxPlan, msg dovecotindex.Message, at *stored) {
	r := MessageReport{Mailbox: to.key, UID: uint32(msg.UID)}
	wrong := at == nil || !at.read || !msg.GUID.IsZero() && dovecotindex.GUID128(at.meta.GUID) != msg.GUID
	if found := p.byGUID[msg.GUID]; wrong && !msg.GUID.IsZero() && found != nil && found != at {
		at = found
		p.enter(at)
		r.Place, r.Reason = place(at.place), "Dovecot's map does not lead to it; found by its GUID"
		p.report.Found = append(p.report.Found, r)
	}
	if at == nil {
		r.Reason = fmt.Sprintf("it is in no file (map UID %d, GUID %s)", msg.MapUID, msg.GUID)
		p.report.Lost = append(p.report.Lost, r)
		return
	}
	r.Place = place(at.place)
	p.tellOf(at, r)
	if at.meta.GUID == "" {
		at.meta.GUID = msg.GUID.String()
	}
	at.refs++
	to.messages = append(to.messages, taken{msg, at})
}

func place(p mfile.Place) string { return p.String() }

// tellOf reports what a taken message lacks.
func (p *plan) tellOf(at *stored, r MessageReport) {
	if at.meta.External != "" {
		r.Reason = "parts of it are in the attachment directory"
		p.report.Attachments = append(p.report.Attachments, r)
	}
	if at.bad != nil {
		r.Reason = at.bad.Error()
		p.report.Damaged = append(p.report.Damaged, r)
	}
}

// adopt puts messages that no mailbox has into those whose indexes are lost: the map knows that
// they were not expunged, and they themselves in which mailbox they were first.
func (p *plan) adopt() {
	lost := map[string]*boxPlan{}
	var any *boxPlan
	for _, b := range p.boxes {
		if b.lost {
			lost[b.key] = b
			if any == nil {
				any = b
			}
		}
	}
	if any == nil {
		return
	}
	for _, m := range p.unclaimed() {
		b := lost[m.meta.Folder]
		if b == nil {
			b = any
		}
		uid := mailbox.UID(len(b.messages) + 1)
		p.enter(m)
		p.take(b, dovecotindex.Message{UID: uid, GUID: dovecotindex.GUID128(m.meta.GUID)}, m)
		b.m.NextUID = uid + 1
	}
}

// unclaimed are messages that were not expunged and that no mailbox has, in the order of the map.
func (p *plan) unclaimed() (list []*stored) {
	if p.src.maps == nil {
		for _, m := range p.byPlace {
			if m.refs == 0 {
				list = append(list, m)
			}
		}
		sortStored(list)
		return list
	}
	for _, r := range p.src.maps.Messages {
		if m := p.byMap[r.UID]; m != nil && m.mapUID == r.UID && m.refs == 0 && r.Refs > 0 {
			list = append(list, m)
		}
	}
	return list
}
