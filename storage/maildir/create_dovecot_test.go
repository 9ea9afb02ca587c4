package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Dovecot makes a folder while we do: both have the one identity that was written first, and
// whoever was told of it before is not told of another.
func TestDovecotCreatesToo(t *testing.T) {
	withDovecot(t, "maildir:~/M", func(t *testing.T, d *dovecot) {
		s := d.imap()
		var log bytes.Buffer
		h := openTree(t, d.loc, Options{Separator: '/', Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for i := range 30 {
			name := fmt.Sprintf("F%d", i)
			done := make(chan bool)
			go func() {
				defer close(done)
				s.Do("CREATE %s", name)
				s.Do("STATUS %s (UIDVALIDITY)", name)
			}()
			_ = h.Create(t.Context(), name) // one of the two is told that it is there
			guid, err := h.GUID(t.Context(), name)
			if err != nil {
				t.Error(err)
			}
			m := openBox(t, h, name)
			validity := m.View().UIDValidity
			<-done
			if _, err := m.Sync(t.Context()); err != nil {
				t.Error(err)
			}
			if m.GUID() != guid || m.View().UIDValidity != validity {
				t.Errorf("%s: was told %v %d, is %v %d", name, guid, validity, m.GUID(), m.View().UIDValidity)
			}
			if lines := s.OK("STATUS %s (UIDVALIDITY)", name); !strings.Contains(strings.Join(lines, ""), fmt.Sprintf("(UIDVALIDITY %d)", validity)) {
				t.Errorf("%s has UIDVALIDITY %d, Dovecot says %q", name, validity, lines)
			}
		}
		if log.Len() > 0 {
			t.Errorf("we log: %s", log.String())
		}
		if log := s.Close(); strings.Contains(log, "Error") || strings.Contains(log, "Warning") {
			t.Errorf("Dovecot logs: %s", log)
		}
	})
}

// A folder that another program is making is not completed for it: Dovecot would say that it
// exists already.
func TestOpenWhileBeingMade(t *testing.T) {
	loc := newLocation(t)
	h := openTree(t, loc, Options{})
	dir := filepath.Join(loc.Root, ".Made")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		var errs []error
		for _, sub := range []string{"cur", "new", "tmp"} {
			errs = append(errs, os.Mkdir(filepath.Join(dir, sub), 0o700))
		}
		made <- errors.Join(errs...)
	}()
	openBox(t, h, "Made")
	if err := <-made; err != nil {
		t.Error(err)
	}
}
