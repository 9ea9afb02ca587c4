package dovecotindex

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
)

// We read while Dovecot writes, replaces snapshots and rotates logs: every state is whole,
// and none is older than the one before.
func TestReadBesideWriter(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox", small, func(t *testing.T, d *dovetest.Dovecot) {
		s := d.IMAP()
		p := newPlayer(t, d, s)
		p.step([]string{"INBOX"})
		s.Append("INBOX", "", "Subject: a\r\n\r\nb\r\n")
		done := make(chan struct{})
		var rotated atomic.Bool
		go func() {
			defer close(done)
			for n := 0; n < 80 || !rotated.Load() && n < 1000; n++ {
				p.step([]string{"INBOX"})
			}
		}()
		type seen struct {
			next   mailbox.UID
			modseq mailbox.ModSeq
			log    uint32
		}
		last := map[string]seen{}
		reads := 0
		for running := true; running; reads++ {
			select {
			case <-done:
				running = false
			default:
			}
			for _, path := range []string{liveIndex(d, "mdbox", "INBOX"), filepath.Join(d.Home, "mdbox/storage/dovecot.map.index")} {
				x, err := Read(t.Context(), path)
				if err != nil || x.Damage != nil {
					t.Fatalf("read %d of %s: %v %v", reads, path, err, x)
				}
				now := seen{x.NextUID, x.HighestModSeq, x.LogSeq}
				if was := last[path]; now.next < was.next || now.modseq < was.modseq || now.log < was.log {
					t.Fatalf("read %d of %s: %+v after %+v", reads, path, now, was)
				}
				last[path] = now
				if path == liveIndex(d, "mdbox", "INBOX") && now.log > 3 {
					rotated.Store(true)
				}
			}
		}
		if reads < 10 || !rotated.Load() {
			t.Errorf("only %d reads beside %+v", reads, last)
		}
		if bad := dovetest.Troubles(s.Close()); bad != nil {
			t.Error(bad)
		}
		compare(t, d, "mdbox", "INBOX")
	})
}
