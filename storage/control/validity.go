package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailcrypt/internal/durable"
)

const validityName = "dovecot-uidvalidity"

// NextUIDValidity returns a value that no mailbox of the tree has had, from the counter that
// all programs on the tree share: a marker file whose name ends with the value, renamed to
// count. Who succeeds in the rename owns the new value (Dovecot: mailbox-uidvalidity.c).
func (d *Dir) NextUIDValidity() (uint32, error) {
	if err := d.Tree.MkdirAll(d.Path); err != nil {
		return 0, fmt.Errorf("control: taking UIDVALIDITY: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.countValidity(d.Path)
	if err != nil {
		// Better a value from the clock than no mailbox, but never the same one twice.
		d.Logger.Warn("control: taking UIDVALIDITY from the clock", "error", err)
		v = max(uint32(time.Now().Unix()), d.last+1)
	}
	d.last = v
	return v, nil
}

func marker(dir string, v uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%s.%08x", validityName, v))
}

func (d *Dir) countValidity(dir string) (uint32, error) {
	if text, err := durable.ReadSmall(filepath.Join(dir, validityName), maxSmallFile); err == nil {
		if v, ok := parseHex8(string(text)); ok {
			for range maxRounds {
				next, err := d.advance(dir, v)
				if err == nil {
					return next, d.writeValidity(dir, next)
				}
				if !errors.Is(err, os.ErrNotExist) {
					return 0, err
				}
				v++
			}
		}
	}
	for range maxRounds {
		markers, err := listMarkers(dir)
		if err != nil {
			return 0, err
		}
		if len(markers) == 0 {
			v := max(uint32(time.Now().Unix()), d.last+1)
			f, err := d.Tree.Faults.OpenFile(marker(dir, v), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o444)
			if errors.Is(err, os.ErrExist) {
				continue
			}
			if err != nil {
				return 0, err
			}
			return v, errors.Join(f.Close(), d.writeValidity(dir, v))
		}
		for _, v := range markers[:len(markers)-1] {
			_ = d.Tree.Faults.Remove(marker(dir, v)) // the largest is the one that counts
		}
		next, err := d.advance(dir, markers[len(markers)-1])
		if err == nil {
			return next, d.writeValidity(dir, next)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	return 0, errors.New("control: UIDVALIDITY is being taken all the time")
}

// advance renames the marker of v to the next value.
func (d *Dir) advance(dir string, v uint32) (uint32, error) {
	next := v + 1
	if next == 0 {
		next = 1
	}
	return next, d.Tree.Faults.Rename(marker(dir, v), marker(dir, next))
}

// writeValidity overwrites the digits. They are only a hint where the marker is, so they
// need no sync, and a reader that finds them half-written looks for the markers.
func (d *Dir) writeValidity(dir string, v uint32) error {
	f, err := d.Tree.Faults.OpenFile(filepath.Join(dir, validityName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(fmt.Appendf(nil, "%08x", v))
	return errors.Join(err, f.Close(), d.Tree.Faults.SyncDir(dir))
}

// listMarkers returns the values of all markers, ascending.
func listMarkers(dir string) ([]uint32, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []uint32
	for _, e := range list {
		if hex, ok := strings.CutPrefix(e.Name(), validityName+"."); ok {
			if v, ok := parseHex8(hex); ok {
				found = append(found, v)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

func parseHex8(s string) (uint32, bool) {
	if len(s) != 8 {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 16, 32)
	return uint32(v), err == nil && v != 0
}
