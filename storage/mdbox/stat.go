package mdbox

import (
	"context"
	"fmt"

	"mailcrypt/index"
	"mailcrypt/storage/mdbox/mfile"
)

// A Stat is what a store holds, by its catalog and by its directories.
type Stat struct {
	Mailboxes int `json:"mailboxes"`
	// Messages are those of all mailboxes; Stored is how many different ones of these there
	// are, for copies share their bytes, and Expunged how many wait for a purge.
	Messages int `json:"messages"`
	Stored   int `json:"stored"`
	Expunged int `json:"expunged"`
	// LiveBytes and DeadBytes are what these take in the files.
	LiveBytes uint64     `json:"live_bytes"`
	DeadBytes uint64     `json:"dead_bytes"`
	Rebuilds  uint32     `json:"rebuilds"` // by force-resync
	Files     []FileStat `json:"files"`    // by ID
}

// A FileStat is one message file.
type FileStat struct {
	ID        uint32 `json:"id"`
	Alt       bool   `json:"alt,omitempty"` // in the alternative directory
	Size      int64  `json:"size"`          // as it lies there
	Known     uint32 `json:"known"`         // where its last message ends that the catalog knows
	Messages  uint32 `json:"messages"`      // live and dead
	Dead      uint32 `json:"dead"`
	DeadBytes uint64 `json:"dead_bytes"`
	State     string `json:"state"` // one of the File constants
}

// States of a file.
const (
	FileOK      = "ok"
	FileTail    = "tail"    // there are bytes behind those that are known
	FileShort   = "short"   // bytes are missing
	FileMissing = "missing" // it is known and not there
	FileUnknown = "unknown" // it is there and not known
	FilePurged  = "purged"  // it is to be removed
)

// Stat tells what is in the store. It looks at every stored message's entry in the catalog.
func (h *Hierarchy) Stat(ctx context.Context) (*Stat, error) { return h.maintenance().stat(ctx) }

// stat tells what is in the store.
func (s *maintenance) stat(ctx context.Context) (*Stat, error) {
	st := &Stat{}
	var known []index.CatalogFile
	err := s.catalog.View(func(tx *index.CatalogTx) (err error) {
		if known, err = tx.Files(); err != nil {
			return err
		}
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		st.Rebuilds = meta.Rebuilds
		err = tx.Names(func(_ string, id index.Identity) error {
			m, err := tx.Mailbox(id.GUID)
			st.Mailboxes++
			st.Messages += int(m.Messages)
			return err
		})
		if err != nil {
			return err
		}
		return tx.Maps(func(r index.MapRecord) error {
			if r.Refs == 0 {
				st.Expunged++
				st.DeadBytes += uint64(r.Size)
			} else {
				st.Stored++
				st.LiveBytes += uint64(r.Size)
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, fmt.Errorf("mdbox: looking at the store: %w", err)
	}
	there, err := s.files.List() // afterwards: what was appended meanwhile counts as a tail
	if err != nil {
		return nil, fmt.Errorf("mdbox: looking at the store: %w", err)
	}
	st.Files = fileStats(known, there)
	return st, nil
}

// fileStats compares what is known with what is there. Both are by ID.
func fileStats(known []index.CatalogFile, there []mfile.File) (list []FileStat) {
	for len(known) > 0 || len(there) > 0 {
		switch {
		case len(known) > 0 && len(there) > 0 && known[0].ID == there[0].ID:
			f, size := statOf(&known[0]), there[0].Size
			if there[0].Alt != f.Alt { // that of the other directory is none of ours
				if len(there) > 1 && there[1].ID == f.ID {
					there[0], there[1] = there[1], there[0]
				} else {
					f.Alt = there[0].Alt // somebody has moved it by hand, which is legal
				}
				size = there[0].Size
			}
			switch f.Size = size; {
			case known[0].Doomed:
				f.State = FilePurged
			case size > int64(f.Known):
				f.State = FileTail
			case size < int64(f.Known):
				f.State = FileShort
			}
			list = append(list, f)
			known, there = known[1:], there[1:]
		case len(there) == 0 || len(known) > 0 && known[0].ID < there[0].ID:
			f := statOf(&known[0])
			if f.State = FileMissing; known[0].Doomed {
				f.State = FilePurged
			}
			list = append(list, f)
			known = known[1:]
		default:
			list = append(list, FileStat{ID: there[0].ID, Alt: there[0].Alt, Size: there[0].Size, State: FileUnknown})
			there = there[1:]
		}
	}
	return list
}

func statOf(f *index.CatalogFile) FileStat {
	return FileStat{ID: f.ID, Alt: f.Alt, Known: f.End, Messages: f.Messages, Dead: f.Dead, DeadBytes: f.DeadBytes, State: FileOK}
}
