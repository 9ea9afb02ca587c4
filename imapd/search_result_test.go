package imapd

import (
	"fmt"
	"testing"
)

func TestSearchPartial(t *testing.T) {
	f := newFixture(t)
	for range 10 {
		f.add("INBOX", simple)
	}
	f.selected("INBOX").script(`
C: a SEARCH RETURN (PARTIAL 1:3) ALL
S: * ESEARCH (TAG "a") PARTIAL (1:3 1:3)
S: a OK Search completed.
C: b UID SEARCH RETURN (PARTIAL -1:-3) NOT 9
S: * ESEARCH (TAG "b") UID PARTIAL (-1:-3 7:8,10)
S: b OK Search completed.
C: c SEARCH RETURN (partial 5:4 COUNT MIN MAX) 2:9
S: * ESEARCH (TAG "c") MIN 2 MAX 9 PARTIAL (5:4 5:6) COUNT 8
S: c OK Search completed.
C: d SEARCH RETURN (PARTIAL 8:20) 2:9
S: * ESEARCH (TAG "d") PARTIAL (8:20 9)
S: d OK Search completed.
C: e SEARCH RETURN (PARTIAL 9:20) 2:9
S: * ESEARCH (TAG "e") PARTIAL (9:20 NIL)
S: e OK Search completed.
C: f SEARCH RETURN (PARTIAL -9:-20) 2:9
S: * ESEARCH (TAG "f") PARTIAL (-9:-20 NIL)
S: f OK Search completed.
C: g SEARCH RETURN (PARTIAL 1:4294967295) SEEN
S: * ESEARCH (TAG "g") PARTIAL (1:4294967295 NIL)
S: g OK Search completed.
C: h SEARCH RETURN (PARTIAL 2:3 SAVE) 3:8
S: * ESEARCH (TAG "h") PARTIAL (2:3 4:5)
S: h OK Search completed.
C: i SEARCH $
S: * SEARCH 4 5
S: i OK Search completed.
C: j SEARCH RETURN (PARTIAL -2:-3 SAVE MIN MAX) 3:8
S: * ESEARCH (TAG "j") MIN 3 MAX 8 PARTIAL (-2:-3 6:7)
S: j OK Search completed.
C: k SEARCH $
S: * SEARCH 3 6 7 8
S: k OK Search completed.
C: l SEARCH RETURN (PARTIAL 1:1 SAVE COUNT) 3:8
S: * ESEARCH (TAG "l") PARTIAL (1:1 3) COUNT 6
S: l OK Search completed.
C: m SEARCH RETURN (COUNT) $
S: * ESEARCH (TAG "m") COUNT 6
S: m OK Search completed.
C: n SEARCH RETURN (PARTIAL 1:2 ALL) 1
S~ n BAD .*
C: o SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) 1
S~ o BAD .*
C: p SEARCH RETURN (PARTIAL 1:*) 1
S~ p BAD .*
C: q SEARCH RETURN (PARTIAL -1:2) 1
S~ q BAD .*
C: r SEARCH RETURN (PARTIAL 0:2) 1
S~ r BAD .*
C: s SEARCH RETURN (PARTIAL) 1
S~ s BAD .*
`)
}

// TestSearchStops: where the ends of a result are asked for, the messages between them are
// not read.
func TestSearchStops(t *testing.T) {
	for _, tt := range []struct {
		options, keys, want string
		opened              int
	}{
		{"MIN", "TEXT hello", "MIN 1", 1},
		{"MAX", "TEXT hello", "MAX 50", 1},
		{"MIN MAX", "TEXT hello", "MIN 1 MAX 50", 2},
		{"MIN MAX", "7 TEXT hello", "MIN 7 MAX 7", 1},
		{"PARTIAL 1:5", "TEXT hello", "PARTIAL (1:5 1:5)", 5},
		{"PARTIAL -3:-5", "TEXT hello", "PARTIAL (-3:-5 46:48)", 5},
		{"PARTIAL -3:-5 MIN", "TEXT hello", "MIN 1 PARTIAL (-3:-5 46:48)", 6},
		{"PARTIAL 40:60 MAX", "TEXT hello", "MAX 50 PARTIAL (40:60 40:50)", 50},
		{"MIN COUNT", "TEXT hello", "MIN 1 COUNT 50", 50},
		{"MIN MAX", "TEXT nothing", "", 50},
	} {
		f := newFixture(t)
		for range 50 {
			f.add("INBOX", simple)
		}
		c := f.selected("INBOX")
		c.send(fmt.Sprintf("a SEARCH RETURN (%s) %s", tt.options, tt.keys))
		got := c.until("a ")
		want := `* ESEARCH (TAG "a")`
		if tt.want != "" {
			want += " " + tt.want
		}
		if got[0] != want {
			t.Errorf("%s %s: %q, want %q", tt.options, tt.keys, got, want)
		}
		f.user.mu.Lock()
		if f.user.opened != tt.opened {
			t.Errorf("%s %s: %d messages were opened, want %d", tt.options, tt.keys, f.user.opened, tt.opened)
		}
		f.user.mu.Unlock()
	}
}

// TestFetchPartial pages through UID FETCH.
func TestFetchPartial(t *testing.T) {
	f := newFixture(t)
	for range 6 {
		f.add("INBOX", simple)
	}
	f.selected("INBOX").script(`
C: a UID FETCH 2:* (FLAGS) (PARTIAL 2:3)
S: * 3 FETCH (UID 3 FLAGS (\Recent))
S: * 4 FETCH (UID 4 FLAGS (\Recent))
S: a OK Fetch completed.
C: b UID FETCH 1:5 UID (PARTIAL -2:-1)
S: * 4 FETCH (UID 4)
S: * 5 FETCH (UID 5)
S: b OK Fetch completed.
C: c UID FETCH 1:* UID (PARTIAL 7:9)
S: c OK Fetch completed.
C: d UID STORE 4 +FLAGS.SILENT (\Seen)
S* d OK
C: e UID FETCH 1:* UID (PARTIAL -1:-3 CHANGEDSINCE 7)
S~ \* OK \[HIGHESTMODSEQ .*
S~ \* 4 FETCH \(UID 4 MODSEQ .*
S: e OK Fetch completed.
C: f UID FETCH 1:* UID (CHANGEDSINCE 7 PARTIAL -1:-2)
S: f OK Fetch completed.
C: g FETCH 1:* UID (PARTIAL 1:2)
S~ g BAD .*
C: h UID FETCH 1:* UID (PARTIAL 1:2 PARTIAL 1:2)
S~ h BAD .*
C: i UID FETCH 1:* UID (PARTIAL)
S~ i BAD .*
`)
}
