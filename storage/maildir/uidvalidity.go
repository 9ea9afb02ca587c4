package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const validityName = "dovecot-uidvalidity"

// uidValidity gives UIDVALIDITYs to new mailboxes from the counter that all programs on
// the tree share: a marker file whose name ends with the value, renamed to count. Who
// succeeds in the rename owns the new value (Dovecot: mailbox-uidvalidity.c).
type uidValidity struct {
	mu   sync.Mutex
	last uint32
}

// nextValidity returns a value that no mailbox of the tree has had.
func (h *Hierarchy) nextValidity() (uint32, error) {
	dir := h.controlRoot()
	if err := h.mkdirAll(dir); err != nil {
		return 0, fmt.Errorf("maildir: taking UIDVALIDITY: %w", err)
	}
	h.validity.mu.Lock()
	defer h.validity.mu.Unlock()
	v, err := h.countValidity(dir)
	if err != nil {
		// Better a value from the clock than no mailbox, but never the same one twice.
		h.log.Warn("maildir: taking UIDVALIDITY from the clock", "error", err)
		v = max(uint32(time.Now().Unix()), h.validity.last+1)
	}
	h.validity.last = v
	return v, nil
}

func marker(dir string, v uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%s.%08x", validityName, v))
}

func (h *Hierarchy) countValidity(dir string) (uint32, error) {
	if text, err := readSmall(filepath.Join(dir, validityName)); err == nil {
		if v, ok := parseHex8(string(text)); ok {
			for range maxRounds {
				next, err := h.advance(dir, v)
				if err == nil {
					return next, h.writeValidity(dir, next)
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
			v := max(uint32(time.Now().Unix()), h.validity.last+1)
			f, err := h.faults.OpenFile(marker(dir, v), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o444)
			if errors.Is(err, os.ErrExist) {
				continue
			}
			if err != nil {
				return 0, err
			}
			return v, errors.Join(f.Close(), h.writeValidity(dir, v))
		}
		for _, v := range markers[:len(markers)-1] {
			_ = h.faults.Remove(marker(dir, v)) // the largest is the one that counts
		}
		next, err := h.advance(dir, markers[len(markers)-1])
		if err == nil {
			return next, h.writeValidity(dir, next)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	return 0, errors.New("maildir: UIDVALIDITY is being taken all the time")
}

// advance renames the marker of v to the next value.
func (h *Hierarchy) advance(dir string, v uint32) (uint32, error) {
	next := v + 1
	if next == 0 {
		next = 1
	}
	return next, h.faults.Rename(marker(dir, v), marker(dir, next))
}

// writeValidity overwrites the digits. They are only a hint where the marker is, so they
// need no sync, and a reader that finds them half-written looks for the markers.
func (h *Hierarchy) writeValidity(dir string, v uint32) error {
	f, err := h.faults.OpenFile(filepath.Join(dir, validityName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(fmt.Appendf(nil, "%08x", v))
	return errors.Join(err, f.Close(), h.faults.SyncDir(dir))
}

// listMarkers returns the values of all markers, ascending.
func listMarkers(dir string) ([]uint32, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []uint32
	for _, d := range list {
		if hex, ok := strings.CutPrefix(d.Name(), validityName+"."); ok {
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
