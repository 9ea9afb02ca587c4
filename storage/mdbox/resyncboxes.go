package mdbox

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"mailcrypt/index"
	"mailcrypt/mailbox"
)

// A resyncBox is a mailbox of the new catalog.
type resyncBox struct {
	id     index.Identity
	state  index.CatalogMailbox // as the old catalog has it; without UIDVALIDITY if it was lost
	msgs   []index.CatalogMessage
	placed []*found // messages that it gets as new ones
}

func sortedNames(boxes map[string]*resyncBox) []string { return slices.Sorted(maps.Keys(boxes)) }

// knownBoxes finds out which mailboxes there were. A whole catalog knows it. Of a damaged one a
// GUID may be wrong, and identities, which are written before it, are the better witness.
func (x *resync) knownBoxes() error {
	if !x.intact() {
		x.addBoxes(x.identities)
	}
	named := make(map[string]Identity, len(x.old.Names))
	for name, id := range x.old.Names {
		named[name] = identityOf(id)
	}
	x.addBoxes(named)
	if !x.intact() {
		for _, name := range slices.Sorted(maps.Keys(mailDirs(x.loc.Root))) {
			if x.boxes[name] == nil && x.validName(name) {
				x.newBox(name)
			}
		}
	}
	for _, m := range x.old.Mailboxes {
		b := x.byGUID[m.GUID]
		if b == nil {
			if len(m.Messages) == 0 {
				continue
			}
			name := x.namelessName(m.GUID)
			x.report.Nameless = append(x.report.Nameless, name)
			b = x.addBox(name, m.GUID)
		}
		b.state, b.msgs = m.CatalogMailbox, m.Messages
	}
	for _, name := range sortedNames(x.boxes) {
		if err := x.identify(name, x.boxes[name]); err != nil {
			return err
		}
	}
	x.report.Mailboxes = len(x.boxes)
	return nil
}

// addBoxes adds those whose name and GUID are free.
func (x *resync) addBoxes(named map[string]Identity) {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		id := named[name]
		if x.boxes[name] == nil && x.byGUID[id.GUID] == nil && x.validName(name) {
			x.addBox(name, id.GUID)
		}
	}
}

// validName reports whether a storage name can be one: names come from files.
func (x *resync) validName(name string) bool {
	_, ok := x.names.Decode(name)
	return ok && len(name) <= mailbox.MaxName
}

func (x *resync) addBox(name string, guid mailbox.GUID) *resyncBox {
	b := &resyncBox{id: index.Identity{GUID: guid}}
	x.boxes[name], x.byGUID[guid] = b, b
	return b
}

// newBox adds a mailbox of which nobody knows the GUID.
func (x *resync) newBox(name string) *resyncBox {
	x.report.Created = append(x.report.Created, name)
	return x.addBox(name, mailbox.NewGUID())
}

// namelessName is a name for a mailbox of which only the GUID is known.
func (x *resync) namelessName(guid mailbox.GUID) string {
	name := "recovered-" + guid.String()[:8]
	for i := 2; x.boxes[name] != nil; i++ {
		name = fmt.Sprintf("recovered-%s-%d", guid.String()[:8], i)
	}
	return name
}

// identify gives a mailbox its UIDVALIDITY: the old one only if no UID can come to mean
// another message.
func (x *resync) identify(name string, b *resyncBox) error {
	if b.state.UIDValidity != 0 && !x.r.Restored {
		b.id.UIDValidity, b.id.UIDNext = b.state.UIDValidity, b.state.UIDNext
		return nil
	}
	for _, m := range b.msgs {
		b.id.UIDNext = max(b.id.UIDNext, m.UID+1)
	}
	x.report.NewUIDValidity = append(x.report.NewUIDValidity, name)
	if x.r.DryRun {
		b.id.UIDValidity = 1 // never written
		return nil
	}
	old := max(b.state.UIDValidity, x.old.Names[name].UIDValidity, x.identities[name].UIDValidity)
	for b.id.UIDValidity == 0 || b.id.UIDValidity == old {
		var err error
		if b.id.UIDValidity, err = x.control.NextUIDValidity(); err != nil {
			return err
		}
	}
	return nil
}

// place puts messages of which the mailbox is not known where they were saved first, in the
// order in which they lie.
func (x *resync) place() error {
	for i := range x.found {
		f := &x.found[i]
		if f.dead || f.Refs > 0 {
			continue
		}
		name := f.folder
		if name == "" || !x.validName(name) {
			name = mailbox.Inbox
		}
		b := x.boxes[name]
		if b == nil {
			if id, ok := x.identities[name]; ok && x.byGUID[id.GUID] == nil {
				b = x.addBox(name, id.GUID)
			} else {
				b = x.newBox(name)
			}
			if err := x.identify(name, b); err != nil {
				return err
			}
			x.report.Mailboxes++
		}
		b.placed = append(b.placed, f)
		x.report.Placed[name]++
	}
	return nil
}

// fill writes the new catalog.
func (x *resync) fill(ctx context.Context, tx *index.CatalogTx) error {
	m, err := tx.Meta()
	if err != nil {
		return err
	}
	if x.old.Meta.MapValidity != 0 {
		m.MapValidity = x.old.Meta.MapValidity
	}
	m.NextMapUID, m.HighestFile, m.Rebuilds = x.nextID, x.lastFile, x.old.Meta.Rebuilds+1
	if err := tx.SetMeta(m); err != nil {
		return err
	}
	for _, f := range x.states {
		if err := tx.PutFile(f); err != nil {
			return err
		}
	}
	list := make([]*found, len(x.found))
	for i := range x.found {
		list[i] = &x.found[i]
	}
	slices.SortFunc(list, func(a, b *found) int { return cmp.Compare(a.MapUID, b.MapUID) }) // a tree is filled best in order
	for _, f := range list {
		r := f.MapRecord
		r.Refs = 0 // they are counted as messages are put
		if err := tx.PutMap(r); err != nil {
			return err
		}
	}
	for _, name := range sortedNames(x.boxes) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.boxes[name].write(tx, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *resyncBox) write(tx *index.CatalogTx, name string) error {
	if err := tx.CreateMailbox(name, b.id); err != nil {
		return err
	}
	for _, m := range b.msgs {
		if err := tx.PutMessage(b.id.GUID, m); err != nil {
			return err
		}
	}
	if b.id.UIDValidity == b.state.UIDValidity {
		if err := tx.SetMailbox(b.state); err != nil {
			return err
		}
	}
	added := make([]index.CatalogMessage, len(b.placed))
	for i, f := range b.placed {
		added[i] = index.CatalogMessage{MapUID: f.MapUID, Record: index.Record{Physical: f.Physical, Virtual: f.Virtual, Saved: time.Now()}}
	}
	return tx.AddMessages(b.id.GUID, added)
}
