package imapd

import (
	"context"
	"testing"
)

// TestReadAhead: of what a client sends together, a part of a line may be read with the line
// before (as much as a waiting session has room for, 16 octets). It is a command that has begun
// all the same: neither what happens in a mailbox nor a shutdown cuts it off.
func TestReadAhead(t *testing.T) {
	for _, tt := range []struct{ name, sent, first, rest, want string }{
		{"end of IDLE", "aaaaa IDLE\r\nDONE", "S: + idling", "\r\n", "S: aaaaa OK Idle completed."},
		{"command", "a NOOP\r\nbbb NOOP", "S: a OK Noop completed.", "\r\n", "S: bbb OK Noop completed."},
		{"command after IDLE", "aa IDLE\r\nDONE\r\nb", "S: + idling\nS: aa OK Idle completed.", " NOOP\r\n", "S: b OK Noop completed."},
	} {
		for _, compressed := range []bool{false, true} {
			name := tt.name
			if compressed {
				name += ", compressed"
			}
			t.Run(name, func(t *testing.T) {
				f := newFixture(t)
				f.add("INBOX", simple)
				c, waiting := f.selected("INBOX"), f.login()
				c.script("C: n NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange))\nS* n OK")
				if compressed {
					c.script("C: z COMPRESS DEFLATE\nS* z OK")
					c.compressing()
				}
				c.raw(tt.sent)
				c.script(tt.first)
				f.add("INBOX", simple) // wakes who waits
				done := make(chan error)
				go func() { done <- f.srv.Shutdown(context.Background()) }()
				waiting.script(`S: * BYE [UNAVAILABLE] Server is shutting down.`)
				waiting.nc.Close()
				c.raw(tt.rest)
				c.script("S: * 2 EXISTS\nS~ \\* [0-9]+ RECENT\n" + tt.want + "\nS: * BYE [UNAVAILABLE] Server is shutting down.")
				c.nc.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
	}
}
