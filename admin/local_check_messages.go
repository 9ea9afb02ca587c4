package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// An addressed is the messages of one folder that are encrypted to the same keys.
type addressed struct {
	folder account.NamedFolder
	to     []dcrypt.KeyID
	uids   []mailbox.UID
}

// headers reads the headers of all messages. What a message needs is only noted: mail that
// comes while it reads may bring its key with it, so the keys are looked at afterwards.
func (c *checker) headers(ctx context.Context, want func(account.NamedFolder) bool) error {
	n := &needs{byKey: map[dcrypt.KeyID]map[mailbox.GUID]int64{}, scan: c.Scan(want)}
	n.scan.Report = func(folder string, done, total int) {
		c.report.report(Progress{What: "reading headers", Place: folder, Done: int64(done), Total: int64(total)})
	}
	groups := map[string]*addressed{}
	_, err := n.scan.Round(ctx, func(h account.StoredHeader) error {
		n.add(h)
		switch {
		case h.Err != nil:
			c.missing(UnreadableMessage{Folder: h.Folder.Name, UID: uint32(h.UID), Error: h.Err.Error()})
		case h.Header == nil:
		case len(h.Header.Recipients) == 0:
			c.missing(UnreadableMessage{Folder: h.Folder.Name, UID: uint32(h.UID), Error: "the message is encrypted to nobody"})
		default:
			key := []byte(h.Folder.GUID.String() + h.Folder.Name)
			var to []dcrypt.KeyID
			for _, r := range h.Header.Recipients {
				key = append(key, r.ID[:]...)
				to = append(to, r.ID)
			}
			g := groups[string(key)]
			if g == nil {
				g = &addressed{folder: h.Folder, to: to}
				groups[string(key)] = g
				c.groups = append(c.groups, g)
			}
			g.uids = append(g.uids, h.UID)
		}
		return nil
	})
	n.Scan.Folders = n.scan.Folders
	c.result.Scan, c.needs = n.Scan, n
	return err
}

// messages notes those that nothing opens.
func (c *checker) messages() {
	for _, g := range c.groups {
		row := UnreadableMessage{Folder: g.folder.Name}
		opens := slices.ContainsFunc(g.to, func(id dcrypt.KeyID) bool {
			v := c.look(id, g.folder)
			row.Keys = append(row.Keys, id.String())
			row.Error = v.Error
			return v.Condition == KeyOK
		})
		if opens {
			continue
		}
		for _, uid := range g.uids {
			row.UID = uint32(uid)
			c.missing(row)
		}
	}
	slices.SortStableFunc(c.result.Missing, func(a, b UnreadableMessage) int {
		return cmp.Or(strings.Compare(a.Folder, b.Folder), cmp.Compare(a.UID, b.UID))
	})
	for id, row := range c.verdict {
		row.Messages = c.needs.total(id)
		c.verdict[id] = row
	}
}

func (c *checker) missing(row UnreadableMessage) {
	if len(c.result.Missing) < c.rows {
		c.result.Missing = append(c.result.Missing, row)
	} else {
		c.result.MoreMissing++
	}
}
