package imapd

import (
	"errors"
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

func TestPreview(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", "Content-Type: text/html; charset=utf-8\n\n<p>Gr\u00fc\u00dfe \"a\"</p>\n")
	f.add("INBOX", "Content-Type: application/pdf\n\nPDF\n")
	f.add("INBOX", "\n"+strings.Repeat("word ", 20_000))
	f.add("INBOX", simple)
	f.user.unreadable = map[mailbox.UID]error{5: errors.New("no key")}
	c := f.selected("INBOX")
	c.script(`
C: a FETCH 1:4 PREVIEW
S: * 1 FETCH (PREVIEW "First line Second line")
S: * 2 FETCH (PREVIEW {11}
S: Grüße "a")
S: * 3 FETCH (PREVIEW "")
S: * 4 FETCH (PREVIEW "` + strings.Repeat("word ", 39) + `word")
S: a OK Fetch completed.
C: b UID FETCH 1,3:4 (preview (lazy) UID FLAGS)
S: * 1 FETCH (UID 1 PREVIEW "First line Second line" FLAGS (\Recent))
S: * 3 FETCH (UID 3 PREVIEW "" FLAGS (\Recent))
S: * 4 FETCH (UID 4 PREVIEW NIL FLAGS (\Recent))
S: b OK Fetch completed.
C: c FETCH 4 PREVIEW (LAZY)
S: * 4 FETCH (PREVIEW NIL)
S: c OK Fetch completed.
C: d FETCH 4 (PREVIEW (LAZY) BODY.PEEK[TEXT]<0.3>)
S: * 4 FETCH (PREVIEW "` + strings.Repeat("word ", 39) + `word" BODY[TEXT]<0> {3}
S: wor)
S: d OK Fetch completed.
C: e FETCH 5 (UID PREVIEW)
S: * 5 FETCH (UID 5)
S~ e NO \[UNAVAILABLE\] .*
C: f FETCH 5 (UID PREVIEW (LAZY))
S: * 5 FETCH (UID 5)
S~ f NO \[UNAVAILABLE\] .*
C: g FETCH 1 (PREVIEW (LAZY FOO))
S~ g BAD .*
C: h FETCH 1 PREVIEW (FOO)
S~ h BAD .*
C: i FETCH 1 (PREVIEW())
S~ i BAD .*
C: j ENABLE UTF8=ACCEPT
S: * ENABLED UTF8=ACCEPT
S: j OK Enable completed.
C: k FETCH 2 PREVIEW
S: * 2 FETCH (PREVIEW "Grüße \"a\"")
S: k OK Fetch completed.
C: l CAPABILITY
S~ .* PREVIEW .*
S: l OK Capability completed.
`)
	// What is made for LAZY does not open large messages.
	f.user.mu.Lock()
	opened := f.user.opened
	f.user.mu.Unlock()
	c.script(`
C: m FETCH 4 (PREVIEW (LAZY))
S: * 4 FETCH (PREVIEW NIL)
S: m OK Fetch completed.`)
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.user.opened != opened {
		t.Error("a large message was opened for a lazy preview")
	}
}
