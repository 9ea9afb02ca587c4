package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"mailcrypt/mailbox"
)

// concurrency has savers, flaggers, expungers and readers at one mailbox at once, and
// then looks whether all that was saved and not expunged is there, and as saved.
func (s *suite) concurrency() {
	const savers, each = 4, 12
	b := s.inbox()
	var mu sync.Mutex
	saved := map[mailbox.UID][]byte{}
	gone := map[mailbox.UID]bool{}
	// some returns a UID that is there or was; 0 before the first.
	some := func() mailbox.UID {
		mu.Lock()
		defer mu.Unlock()
		for uid := range saved {
			return uid
		}
		return 0
	}
	var saving, others sync.WaitGroup
	for g := range savers {
		saving.Go(func() {
			for n := range each {
				text := []byte(fmt.Sprintf("Subject: %d of %d\n\n", n, g))
				text = append(text, bytes.Repeat([]byte("line\n"), rand.IntN(2000))...)
				uid, err := save(s.ctx, b, text, mailbox.SaveInfo{NeedUID: true})
				if err != nil {
					s.Errorf("saving: %v", err)
					return
				}
				mu.Lock()
				if _, twice := saved[uid]; twice || uid == 0 {
					s.Errorf("UID %d was given twice", uid)
				}
				saved[uid] = text
				mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	loop := func(do func(uid mailbox.UID) error) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				uid := some()
				if uid == 0 {
					continue
				}
				if err := do(uid); err != nil {
					s.Errorf("uid %d: %v", uid, err)
					return
				}
			}
		})
	}
	for _, k := range []string{"one", "two"} {
		loop(func(uid mailbox.UID) error {
			op := mailbox.FlagOp(rand.IntN(3))
			return setFlags(s.ctx, b, []mailbox.UID{uid}, mailbox.FlagChange{Op: op,
				Flags: mailbox.Flags{System: mailbox.SystemFlags(rand.IntN(32)), Keywords: []string{k}}})
		})
	}
	loop(func(uid mailbox.UID) error {
		if uid%5 != 0 {
			return nil
		}
		mu.Lock()
		gone[uid] = true
		mu.Unlock()
		return b.Expunge(s.ctx, []mailbox.UID{uid})
	})
	loop(func(uid mailbox.UID) error {
		got, err := read(s.ctx, b, uid)
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(err, mailbox.ErrNotFound) && gone[uid] {
			return nil
		}
		if err == nil && !bytes.Equal(got, saved[uid]) {
			err = fmt.Errorf("read %d bytes that are not the %d saved", len(got), len(saved[uid]))
		}
		return err
	})
	loop(func(mailbox.UID) error {
		v, err := b.Sync(s.ctx)
		if err != nil {
			return err
		}
		last := mailbox.UID(0)
		for _, m := range v.All() {
			if m.UID <= last || m.UID >= v.UIDNext || m.ModSeq > v.HighestModSeq {
				return fmt.Errorf("view: uid %d after %d with UIDNEXT %d", m.UID, last, v.UIDNext)
			}
			last = m.UID
		}
		return nil
	})
	saving.Wait()
	close(stop)
	others.Wait()
	for range 2 {
		v := s.sync(b)
		if want := len(saved) - len(gone); v.Len() != want || len(saved) != savers*each {
			s.Errorf("%d messages, want %d; %d were saved", v.Len(), want, len(saved))
		}
		for _, m := range v.All() {
			if gone[m.UID] {
				s.Errorf("uid %d was expunged and is there", m.UID)
			}
			s.wantText(b, m.UID, saved[m.UID])
		}
		s.restart()
		b = s.inbox()
	}
}
