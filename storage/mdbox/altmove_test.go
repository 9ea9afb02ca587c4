package mdbox

import (
	"strings"
	"testing"
	"time"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// sides returns which messages of a mailbox are in the alternative directory.
func (s *maintStore) sides(name string) (alt []mailbox.UID) {
	s.t.Helper()
	guid := s.guid(name)
	err := s.catalog.View(func(tx *index.CatalogTx) error {
		return tx.Messages(guid, func(m index.CatalogMessage) error {
			r, err := tx.Map(m.MapUID)
			if err != nil {
				return err
			}
			f, err := tx.File(r.File)
			if f.Alt {
				alt = append(alt, m.UID)
			}
			return err
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return alt
}

func TestAltMove(t *testing.T) {
	s := newMaintStore(t, "A", "B")
	s.fill()
	saw := map[string]mailbox.Message{}
	old := func(name string, m mailbox.Message) bool {
		if name == "A" {
			saw[m.GUID] = m
		}
		return name == "A" && m.Received.Before(maintStart.Add(15*time.Hour))
	}
	done, err := s.maintenance().altMove(t.Context(), true, old)
	if err != nil || done.Messages == 0 || len(done.Left) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	s.check("moved")
	m := saw["00000000000000000000000000000003"]
	if m.UID != 3 || len(m.Flags.Keywords) != 1 || !m.Saved.Equal(maintStart) || m.Sizes.Physical != 337 || m.Received.Hour() != 6 {
		t.Errorf("%+v", m)
	}
	got := s.sides("A")
	if len(got) != 9 || got[len(got)-1] != 14 {
		t.Errorf("in the alternative directory: %v", got)
	}
	// UID 9 of A is in B too, and has moved with it.
	if got := s.sides("B"); len(got) != 1 || got[0] != 4 {
		t.Errorf("of B: %v", got)
	}
	if !strings.Contains(s.states(), "a") || strings.Contains(s.states(), "unknown") {
		t.Error(s.states())
	}
	done, err = s.maintenance().altMove(t.Context(), true, old)
	if err != nil || done.Messages != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
	// A purge leaves messages on their side.
	s.expunge("A", 3, 15)
	if _, err := s.maintenance().purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check("purged")
	if got := s.sides("A"); len(got) != 8 {
		t.Errorf("after a purge: %v", got)
	}
	if _, err := s.maintenance().altMove(t.Context(), false, func(string, mailbox.Message) bool { return true }); err != nil {
		t.Fatal(err)
	}
	s.check("moved back")
	if got := append(s.sides("A"), s.sides("B")...); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	s.reopen()
	s.check("reopened")
}

// Without an alternative directory nothing is moved, and nothing lost.
func TestAltMoveNowhere(t *testing.T) {
	s := newMaintStore(t, "A", "B")
	s.fill()
	files, err := mfile.Open(mfile.Options{Root: s.root, Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	x := s.maintenance()
	x.files = files
	if _, err := x.altMove(t.Context(), true, func(string, mailbox.Message) bool { return true }); err == nil || !strings.Contains(err.Error(), "ALT=") {
		t.Error(err)
	}
	s.check("after")
}

// TestAltMoveFaults spoils every step of moving half of the messages.
func TestAltMoveFaults(t *testing.T) {
	maintFaults(t, nil, func(s *maintStore) error {
		if _, err := s.maintenance().altMove(t.Context(), true, func(_ string, m mailbox.Message) bool { return m.UID%2 == 0 }); err != nil {
			return err
		}
		_, err := s.maintenance().purge(t.Context())
		return err
	})
}
