package maildir

import (
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// A message that is being saved goes along with its mailbox when that is renamed, saved or
// given up.
func TestRenameWhileSaving(t *testing.T) {
	h := openTree(t, newLocation(t), Options{})
	m := openBox(t, h, "A")
	var begun []mailbox.Pending
	for range 3 {
		p, err := m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		begun = append(begun, p)
	}
	if err := h.Rename(t.Context(), "A", "B"); err != nil {
		t.Fatal(err)
	}
	if _, err := begun[0].Commit(mailbox.Sizes{}); err != nil {
		t.Error(err)
	}
	if err := begun[1].Abort(); err != nil {
		t.Error(err)
	}
	// Another mailbox of the old name is not the one that it was begun in.
	other := openBox(t, h, "A")
	if _, err := begun[2].Commit(mailbox.Sizes{}); err != nil {
		t.Error(err)
	}
	b := openBox(t, h, "B")
	if n, o := len(resync(t, b)), len(resync(t, other)); n != 2 || o != 0 {
		t.Errorf("%d messages in B, %d in A", n, o)
	}
	for _, m := range []*Mailbox{b, other} {
		if left := inTmp(t, m.b.tmpPath("")); len(left) != 0 {
			t.Errorf("tmp holds %q", left)
		}
	}
}

// A mailbox whose last user lets go of it while it is renamed can be opened under its new name.
func TestCloseWhileRenaming(t *testing.T) {
	h := openTree(t, newLocation(t), Options{})
	for range 20 {
		if err := h.Create(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		m, err := h.OpenMailbox(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		m.b.op <- struct{}{} // both wait for it
		renamed, closed := make(chan error), make(chan error)
		go func() { renamed <- h.Rename(t.Context(), "A", "B") }()
		time.Sleep(time.Millisecond)
		go func() { closed <- m.Close() }()
		time.Sleep(time.Millisecond)
		m.b.unlock()
		if err := <-renamed; err != nil {
			t.Fatal(err)
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		b, err := h.OpenMailbox(t.Context(), "B")
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if err := h.Delete(t.Context(), "B"); err != nil {
			t.Fatal(err)
		}
	}
}

// What is saved, delivered, read and expunged while a mailbox is renamed to and fro, and others come and go under the
// name it had, is saved and read.
func TestSaveAmongRenames(t *testing.T) {
	h := openTree(t, newLocation(t), Options{})
	m := openBox(t, h, "A")
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		names := []string{"A", "B"}
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			from, to := names[i%2], names[(i+1)%2]
			err := h.Rename(t.Context(), from, to)
			if err == nil {
				err = h.Create(t.Context(), from)
			}
			if err == nil {
				err = h.Delete(t.Context(), from)
			}
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	const messages = 300
	left := messages
	for i := range messages {
		p, err := m.Create(t.Context(), mailbox.SaveInfo{NeedUID: true})
		if err != nil {
			t.Errorf("message %d: %v", i, err)
			break
		}
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		uid, err := p.Commit(mailbox.Sizes{})
		if err != nil {
			t.Errorf("message %d: %v", i, err)
			break
		}
		f, err := m.Open(t.Context(), uid)
		if err != nil {
			t.Errorf("reading message %d: %v", i, err)
			break
		}
		f.Close()
		if i%3 == 0 {
			if err := m.Expunge(t.Context(), []mailbox.UID{uid}); err != nil {
				t.Errorf("expunging message %d: %v", i, err)
				break
			}
			left--
			continue
		}
		if p, err = m.Create(t.Context(), mailbox.SaveInfo{}); err != nil {
			t.Errorf("delivering beside message %d: %v", i, err)
			break
		}
		if _, err := p.Commit(mailbox.Sizes{}); err != nil {
			t.Errorf("delivering beside message %d: %v", i, err)
			break
		}
		left++
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if n := len(resync(t, m)); n != left {
		t.Errorf("%d messages, want %d", n, left)
	}
	if left := inTmp(t, m.b.tmpPath("")); len(left) != 0 {
		t.Errorf("tmp holds %q", left)
	}
}
