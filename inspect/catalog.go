package inspect

import (
	"errors"
	"fmt"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/index"
)

// sealedMagic begins a file of package sealedcache; a mailbox's GUID follows.
const sealedMagic = "MCSC\x01\x00\x00\x00"

// A CatalogInfo is the catalog of an mdbox store.
type CatalogInfo struct {
	Mailboxes  []CatalogMailbox `json:"mailboxes"`
	Files      int              `json:"files"`
	Stored     int              `json:"stored"`                // messages that mailboxes have, copies counted once
	Expunged   int              `json:"expunged"`              // that wait for a purge
	HandedOver bool             `json:"handed_over,omitempty"` // to Dovecot
}

// A CatalogMailbox is one mailbox in it.
type CatalogMailbox struct {
	Name        string `json:"name"` // storage name
	GUID        string `json:"guid"` // what its keys hang on
	UIDValidity uint32 `json:"uidvalidity"`
	UIDNext     uint32 `json:"uidnext"`
	Messages    uint32 `json:"messages"`
}

// catalog reads a catalog, unless a daemon has it open.
func (info *Info) catalog(path string) {
	c, err := index.OpenCatalog(path, index.CatalogOptions{ReadOnly: true})
	if err == nil {
		defer c.Close() // nothing is written
		info.Catalog = &CatalogInfo{}
		err = c.View(info.Catalog.fill)
	}
	if err != nil {
		info.Error = locked(err)
	}
}

func (c *CatalogInfo) fill(tx *index.CatalogTx) error {
	meta, err := tx.Meta()
	if err != nil {
		return err
	}
	c.HandedOver = meta.HandedOver
	files, err := tx.Files()
	if err != nil {
		return err
	}
	c.Files = len(files)
	err = tx.Names(func(name string, id index.Identity) error {
		m, err := tx.Mailbox(id.GUID)
		c.Mailboxes = append(c.Mailboxes, CatalogMailbox{name, id.GUID.String(), id.UIDValidity, uint32(m.UIDNext), m.Messages})
		return err
	})
	if err != nil {
		return err
	}
	return tx.Maps(func(r index.MapRecord) error {
		if r.Refs == 0 {
			c.Expunged++
		} else {
			c.Stored++
		}
		return nil
	})
}

// locked is an error's text, with what to do where a daemon has the file.
func locked(err error) string {
	if errors.Is(err, index.ErrCatalogBusy) || errors.Is(err, attrdict.ErrLocked) {
		return err.Error() + "; look at a copy, or stop the daemon"
	}
	return err.Error()
}

func (c *CatalogInfo) text(b *strings.Builder) {
	fmt.Fprintf(b, "  %d stored messages in %d files, %d of them expunged\n", c.Stored+c.Expunged, c.Files, c.Expunged)
	for _, m := range c.Mailboxes {
		fmt.Fprintf(b, "  %s: GUID %s, UIDVALIDITY %d, next UID %d, %d messages\n", visible(m.Name), m.GUID, m.UIDValidity, m.UIDNext, m.Messages)
	}
	if c.HandedOver {
		b.WriteString("  handed over to Dovecot\n")
	}
}
