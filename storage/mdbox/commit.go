package mdbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// A save is a message that is to be saved.
type save struct {
	file   mfile.Message
	record index.Record
	sizes  mailbox.Sizes
}

// A commit are messages of one mailbox of which all are saved or none.
type commit struct {
	box   *box
	saves []save

	done bool
	err  error
	uids []mailbox.UID
}

// A commitQueue gathers what is saved to any mailbox while another commit is under way, so
// that all of it shares the syncs.
type commitQueue struct {
	mu      sync.Mutex
	waiting []*commit
	working sync.Mutex // held by whoever commits what was waiting
}

// commit saves messages durably and shows them. It cannot be cancelled once it waits.
func (h *Hierarchy) commit(c *commit) error {
	q := &h.commits
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.mu.Unlock()
	q.working.Lock()
	defer q.working.Unlock()
	if !c.done {
		q.mu.Lock()
		work := q.waiting
		q.waiting = nil
		q.mu.Unlock()
		h.commitAll(work)
	}
	return c.err
}

// commitAll does all that was waiting.
func (h *Hierarchy) commitAll(work []*commit) {
	boxes := map[*box]error{}
	for _, c := range work {
		boxes[c.box] = nil
	}
	// In one order, for those who rename take several too.
	for _, b := range inOrder(boxes) {
		b.op <- struct{}{}
		defer b.unlock()
		boxes[b] = b.usable()
	}
	var ready []*commit
	for _, c := range work {
		if c.done, c.err = true, boxes[c.box]; c.err == nil {
			ready = append(ready, c)
		}
	}
	if len(ready) == 0 {
		return
	}
	if err := h.write(ready); err != nil {
		for _, c := range ready {
			c.err = err
		}
	}
}

// inOrder are mailboxes in the order in which they are locked.
func inOrder(boxes map[*box]error) []*box {
	list := make([]*box, 0, len(boxes))
	for b := range boxes {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *box) int {
		// Of a deleted mailbox and its successor the GUIDs differ.
		return cmp.Or(bytes.Compare(a.guid[:], b.guid[:]), cmp.Compare(a.validity, b.validity))
	})
	return list
}

// write appends messages to files, enters them into the catalog, and shows them; all or none.
// op of their mailboxes is held.
func (h *Hierarchy) write(work []*commit) error {
	var files []mfile.Message
	for _, c := range work {
		for _, s := range c.saves {
			files = append(files, s.file)
		}
	}
	ctx := context.Background() // those who wait do not share theirs
	appended, err := h.files.Append(ctx, h.nextFile, files)
	if err != nil {
		return err
	}
	var made map[*box][]*mailbox.Message
	err = h.catalog.Update(ctx, func(tx *index.CatalogTx) (err error) {
		if err := putFiles(tx, appended.Files()); err != nil {
			return err
		}
		made, err = enter(tx, work, appended.Places())
		return err
	})
	if errors.Is(err, index.ErrCatalogUnknown) {
		appended.Commit() // the catalog may have them
		return err
	}
	if err != nil {
		if uerr := appended.Undo(); uerr != nil {
			h.log.Warn("mdbox: messages that could not be saved stay in their files", "root", h.loc.Root, "error", uerr)
		}
		return err
	}
	appended.Commit()
	for b, msgs := range made {
		b.add(msgs)
	}
	return nil
}

// putFiles tells the catalog of files that have become longer.
func putFiles(tx *index.CatalogTx, files []mfile.FileState) error {
	for _, f := range files {
		if was, err := tx.File(f.ID); err == nil && was.Doomed {
			return fmt.Errorf("mdbox: m.%d was appended to and is to be removed", f.ID) // the locks keep that from happening
		}
		if err := tx.PutFile(index.CatalogFile{ID: f.ID, End: f.End, Created: f.Created, Alt: f.Alt}); err != nil {
			return err
		}
	}
	return nil
}

// enter adds messages that lie at places to the catalog.
func enter(tx *index.CatalogTx, work []*commit, places []mfile.Place) (map[*box][]*mailbox.Message, error) {
	made := map[*box][]*mailbox.Message{}
	for _, c := range work {
		msgs := make([]index.CatalogMessage, len(c.saves))
		maps := make([]index.MapRecord, len(c.saves))
		for i := range c.saves {
			s := &c.saves[i]
			maps[i] = index.MapRecord{Place: index.Place(places[0]), Received: s.file.Metadata.Received,
				Physical: s.sizes.Physical, Virtual: s.sizes.Virtual, Stored: s.sizes.Stored, GUID: s.file.Metadata.GUID}
			places = places[1:]
			id, err := tx.AddMap(maps[i])
			if err != nil {
				return nil, err
			}
			msgs[i] = index.CatalogMessage{Record: s.record, MapUID: id}
		}
		if err := tx.AddMessages(c.box.guid, msgs); err != nil {
			return nil, err
		}
		c.uids = c.uids[:0]
		for i, m := range msgs {
			c.uids = append(c.uids, m.UID)
			made[c.box] = append(made[c.box], message(m, maps[i]))
		}
	}
	return made, nil
}
