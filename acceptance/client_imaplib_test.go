package acceptance

import (
	"fmt"
	"testing"
)

const imaplibScript = `
import imaplib, ssl, sys
port, cert, starttls = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ctx = ssl.create_default_context(cafile=cert)
m = imaplib.IMAP4_SSL('localhost', port, ssl_context=ctx)
m.login('u', 'secret')
def ok(r):
    assert r[0] == 'OK', r
    return r[1]
names = ok(m.list())
assert any(b'Work' in n for n in names), names
ok(m.create('"Entw&APw-rfe"'))
ok(m.rename('"Entw&APw-rfe"', '"Entw&APw-rfe alt"'))
ok(m.subscribe('"Entw&APw-rfe alt"'))
assert any(b'Entw&APw-rfe alt' in n for n in ok(m.lsub()))
ok(m.select('INBOX'))
assert ok(m.search(None, 'ALL'))[0].split() == [b'1', b'2', b'3', b'4', b'5']
assert ok(m.search(None, 'SUBJECT', '"message 1"'))[0].split() == [b'2']
m.literal = 'schöne Öfen'.encode()
assert ok(m.search('UTF-8', 'BODY'))[0].split() == [b'3']
data = ok(m.fetch('2', '(BODY.PEEK[] UID)'))[0][1]
assert b'Subject: message 1\r\n' in data, data[:200]
new = b'Subject: by imaplib\r\n\r\nhello \xfc\r\n'
ok(m.append('INBOX', r'(\Seen)', imaplib.Time2Internaldate(1700000000), new))
big = b'Subject: big by imaplib\r\n\r\n' + b'0123456789abcdef\r\n' * 200000
ok(m.append('"Entw&APw-rfe alt"', None, None, big))
ok(m.noop())
uid = ok(m.uid('search', None, 'SUBJECT', '"by imaplib"'))[0]
assert ok(m.uid('fetch', uid, '(BODY.PEEK[] INTERNALDATE)'))[0][1] == new
ok(m.uid('store', uid, '+FLAGS', r'(\Flagged $Work)'))
ok(m.uid('copy', uid, 'Work'))
ok(m.uid('move', '1', 'Work'))
ok(m.store('1', '+FLAGS', r'\Deleted'))
ok(m.expunge())
assert ok(m.status('Work', '(MESSAGES)'))[0].endswith(b'(MESSAGES 2)')
ok(m.close())
m.logout()
m = imaplib.IMAP4('localhost', starttls)
m.starttls(ctx)
m.login('u', 'secret')
assert ok(m.select('INBOX', readonly=True))[0] == b'4'
assert ok(m.select('"Entw&APw-rfe alt"'))[0] == b'1'
assert ok(m.fetch('1', '(RFC822)'))[0][1] == big
ok(m.close())
ok(m.delete('"Entw&APw-rfe alt"'))
m.logout()
`

func testImaplib(t *testing.T, b *box) {
	b.run("python3", "-c", imaplibScript, fmt.Sprint(b.port), b.cert, fmt.Sprint(port(b.d.imap)))
	b.has("Work", "message 0", "by imaplib")
	b.has("INBOX", "eight bits", "parts", "big", "by imaplib")
	b.flags("INBOX", "by imaplib", `\Seen`, `\Flagged`, "$Work")
}
