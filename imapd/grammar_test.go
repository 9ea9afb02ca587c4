package imapd

import (
	"strconv"
	"strings"
)

// commandGrammar makes commands that are mostly valid. Alternatives of a word stand one a
// line; <word> is expanded. The first alternative of each word leads to an end. <lit> is a
// literal, <n:a,b> a number between the two.
const commandGrammar = `
cmd: NOOP
cmd: SELECT <box><selparams>
cmd: SELECT INBOX<selparams>
cmd: EXAMINE <box><selparams>
cmd: CAPABILITY
cmd: ID <id>
cmd: ENABLE <caps>
cmd: ENABLE QRESYNC
cmd: NAMESPACE
cmd: CREATE <name>
cmd: CREATE <name> (USE (\Sent))
cmd: DELETE <name>
cmd: RENAME <name> <name>
cmd: SUBSCRIBE <name>
cmd: UNSUBSCRIBE <name>
cmd: LIST <listsel><ref> <pats><listret>
cmd: LSUB <ref> <pat>
cmd: STATUS <box> (<statusitems>)
cmd: GETQUOTA <astring>
cmd: GETQUOTAROOT <box>
cmd: SETQUOTA <astring> (STORAGE <n:0,9>)
cmd: GETMETADATA <metaopt><metabox> <entries>
cmd: SETMETADATA <metabox> (<sets>)
cmd: APPEND <box> <messages>
cmd: APPEND INBOX <messages>
cmd: IDLE
cmd: NOTIFY <notify>
cmd: CHECK
cmd: CLOSE
cmd: UNSELECT
cmd: EXPUNGE
cmd: UID EXPUNGE <set>
cmd: <uid>FETCH <set> <items><fetchmod>
cmd: <uid>FETCH <set> <items><fetchmod>
cmd: <uid>FETCH 1:* <items><fetchmod>
cmd: <uid>FETCH 1:* <items><fetchmod>
cmd: <uid>FETCH 1:* <items><fetchmod>
cmd: <uid>FETCH 1:* <items><fetchmod>
cmd: <uid>STORE <set> <storemod><sign>FLAGS<silent> <flags>
cmd: <uid>SEARCH <return><keys>
cmd: <uid>SEARCH CHARSET <charset> <keys>
cmd: <uid>SORT <return>(<sorts>) <charset> <keys>
cmd: <uid>THREAD <algorithm> <charset> <keys>
cmd: <uid>COPY <set> <box>
cmd: <uid>MOVE <set> <box>
cmd: <uid>REPLACE <one> <box> <message>
cmd: COMPRESS DEFLATE
cmd: UNAUTHENTICATE
cmd: LOGIN alice secret
cmd: LOGIN <astring> <astring>
cmd: AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
cmd: AUTHENTICATE PLAIN
cmd: AUTHENTICATE LOGIN
cmd: AUTHENTICATE <astring> <astring>
cmd: STARTTLS
cmd: LOGOUT
cmd: <astring> <astring>
uid:
uid: UID 
box: INBOX
box: work
box: <name>
name: work
name: a
name: a/b
name: a/b/c
name: "INBOX/x"
name: "in box"
name: &AOQ-&-x
name: "ä"
name: "a)\\\"("
name: {b}
name: <lit>
name: <astring>
astring: x
astring: ""
astring: "a b"
astring: "q\"\\u"
astring: <lit>
astring: <any>
any: NIL
any: *
any: %
any: (
any: )
any: ()
any: []
any: "
any: \
any: {
any: }
any: {0}
any: {3}
any: ~{1}
any: 0
any: 4294967295
any: 4294967296
any: 18446744073709551616
any: -1
any: ,
any: :
any: &
any: &AAA
any: +
selparams:
selparams:  (CONDSTORE)
selparams:  (QRESYNC (<validity> <modseq><known>))
selparams:  (CONDSTORE QRESYNC (<validity> <modseq>))
validity: 1
known:
known:  <nset>
known:  <nset> (<nset> <nset>)
known:  (<nset> <nset>)
known:  1:4294967295 (1:4294967295 1:4294967295)
modseq: 1
modseq: 0
modseq: <n:1,40>
modseq: 9223372036854775807
modseq: 9223372036854775808
id: NIL
id: ()
id: ("name" "x" "os" NIL)
id: (<astring> <astring>)
caps: CONDSTORE
caps: QRESYNC
caps: IMAP4rev2
caps: UTF8=ACCEPT
caps: X
caps: CONDSTORE QRESYNC IMAP4rev2 UTF8=ACCEPT
ref: ""
ref: a
ref: a/
ref: <astring>
pats: <pat>
pats: (<pat> <pat>)
pat: *
pat: %
pat: a/%
pat: ""
pat: "*b%"
pat: %*%*%/%*
pat: <astring>
listsel:
listsel: ()
listsel: (SUBSCRIBED) 
listsel: (SUBSCRIBED RECURSIVEMATCH) 
listsel: (SPECIAL-USE REMOTE) 
listret:
listret:  RETURN ()
listret:  RETURN (CHILDREN SUBSCRIBED SPECIAL-USE)
listret:  RETURN (STATUS (<statusitems>))
listret:  RETURN (METADATA (/private/comment /shared/x))
statusitems: MESSAGES
statusitems: MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ DELETED DELETED-STORAGE SIZE APPENDLIMIT MAILBOXID
statusitems: HIGHESTMODSEQ
statusitems: <statusitems> <statusitems>
metaopt:
metaopt: (MAXSIZE <n:0,9>) 
metaopt: (DEPTH infinity) 
metaopt: (DEPTH 1 MAXSIZE 9) 
metabox: ""
metabox: <box>
entries: /private/comment
entries: (<entry> <entry>)
entries: (/private /shared)
entry: /private/comment
entry: /shared/x
entry: /private/vendor/a/b
entry: /shared/admin
entry: /private/specialuse
entry: /private/vendor/vendor.dovecot/pvt/crypt/active
entry: "/private/a b"
entry: "/private/*"
entry: /private
entry: <astring>
sets: <entry> <metavalue>
sets: <entry> <metavalue> <sets>
metavalue: NIL
metavalue: "v"
metavalue: "a)\" \\b"
metavalue: <lit>
metavalue: ~<lit>
messages: <message>
messages: <message> <messages>
message: <appflags><appdate><lit>
message: <appflags><appdate><mail>
message: <mail>
message: ~<lit>
message: UTF8 (~<lit>)
message: CATENATE (<catparts>)
appflags:
appflags: (<flaglist>) 
appdate:
appdate: "01-Feb-2024 03:04:05 +0200" 
appdate: " 1-Jan-9999 00:00:00 -1200" 
catparts: URL "/INBOX/;UID=1"
catparts: TEXT <lit>
catparts: TEXT <mail>
catparts: URL <url> <catparts>
catparts: TEXT <lit> <catparts>
catparts: UTF8 (~<lit>)
url: "/INBOX/;UID=<n:1,9>"
url: "/INBOX;UIDVALIDITY=1/;UID=<n:1,9>/;SECTION=<section>"
url: ";UID=<n:1,9>/;PARTIAL=<n:0,9>.<n:0,9>"
url: "/work/;UID=1"
url: "../%41%0d%0a]/;UID=1"
url: <astring>
notify: NONE
notify: SET <nstatus><groups>
nstatus:
nstatus: STATUS 
groups: <group>
groups: <group> <groups>
group: (PERSONAL (<events>))
group: (SELECTED (<selevents>))
group: (SELECTED-DELAYED (<selevents>))
group: (SUBSCRIBED (<events>))
group: (INBOXES (<events>))
group: (SUBTREE (<name> a) (<events>))
group: (MAILBOXES <name> (<events>))
group: (PERSONAL NONE)
events: MessageNew MessageExpunge
events: MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange
events: MailboxName
events: AnnotationChange
events: FlagChange
selevents: MessageNew MessageExpunge
selevents: MessageNew (<items>) MessageExpunge FlagChange
set: 1
set: *
set: 1:*
set: 1:*
set: 1:*
set: 1:*
set: 1,3
set: <n:1,9>:<n:1,9>
set: $
set: 2:4294967295
set: <any>
nset: 1
nset: 1:3
nset: 1,3,5
nset: <n:1,9>:<n:1,9>
nset: 1:4294967295
one: 1
one: *
one: <n:0,9>
items: UID
items: FAST
items: FULL
items: ALL
items: (<itemlist>)
items: (<itemlist>)
items: (<itemlist>)
items: (<itemlist>)
itemlist: FLAGS
itemlist: <item>
itemlist: <item> <itemlist>
item: FLAGS
item: UID
item: INTERNALDATE
item: RFC822.SIZE
item: MODSEQ
item: SAVEDATE
item: EMAILID
item: THREADID
item: ENVELOPE
item: BODY
item: BODYSTRUCTURE
item: RFC822
item: RFC822.HEADER
item: RFC822.TEXT
item: PREVIEW
item: PREVIEW (LAZY)
item: BODY[<section>]<partial>
item: BODY.PEEK[<section>]<partial>
item: BINARY[<path>]<partial>
item: BINARY.PEEK[<path>]<partial>
item: BINARY.SIZE[<path>]
path:
path: 1
path: 2
path: 1.1
path: 2.1.1
section:
section: HEADER
section: TEXT
section: 1
section: 2
section: 2.1
section: 1.MIME
section: 2.HEADER
section: 2.TEXT
section: HEADER.FIELDS (<fields>)
section: HEADER.FIELDS (<fields>)
section: HEADER.FIELDS.NOT (<fields>)
section: 2.HEADER.FIELDS (Subject)
section: 1.1.1.1.1.1.1
fields: Subject
fields: From To X-Evil
fields: <astring>
partial:
partial:
partial:
partial:
partial: <0.5>
partial: <<n:0,99>.<n:1,99>>
partial: <4294967295.9223372036854775807>
partial: <9223372036854775807.1>
fetchmod:
fetchmod:
fetchmod:
fetchmod:
fetchmod:
fetchmod:  (CHANGEDSINCE <modseq>)
fetchmod:  (CHANGEDSINCE <modseq> VANISHED)
fetchmod:  (PARTIAL <range>)
range: 1:2
range: -1:-3
range: 4294967295:1
range: 9:9
storemod:
storemod:
storemod:
storemod: (UNCHANGEDSINCE <modseq>) 
sign: +
sign: -
sign:
silent:
silent: .SILENT
flags: (<flaglist>)
flags: \Seen
flags: <flaglist>
flags: ()
flaglist: \Seen
flaglist: \Deleted
flaglist: \Deleted \Flagged
flaglist: keyword
flaglist: k<n:1,30> $Other
flaglist: \Answered \Draft k1 K1
flaglist: \Recent
flaglist: <any>
return:
return:
return:
return:
return: RETURN () 
return: RETURN (SAVE) 
return: RETURN (MIN MAX COUNT ALL) 
return: RETURN (PARTIAL <range> SAVE) 
return: RETURN (MIN SAVE) 
charset: UTF-8
charset: UTF-8
charset: UTF-8
charset: UTF-8
charset: US-ASCII
charset: ISO-2022-JP
charset: UTF-16
charset: X
keys: ALL
keys: <key>
keys: <key> <keys>
key: ALL
key: SEEN
key: UNSEEN
key: NEW
key: OLD
key: DELETED
key: KEYWORD keyword
key: UNKEYWORD k1
key: NOT <key>
key: OR <key> <key>
key: (<keys>)
key: <set>
key: UID <set>
key: SINCE 1-Feb-2024
key: SENTBEFORE 1-Feb-2024
key: SAVEDON 1-Feb-2024
key: LARGER <n:0,999>
key: SMALLER 9223372036854775807
key: OLDER <n:0,9>
key: YOUNGER 4294967295
key: MODSEQ <modseq>
key: MODSEQ "/flags/\\draft" all <modseq>
key: EMAILID M1
key: SUBJECT <astring>
key: FROM <astring>
key: HEADER <astring> <astring>
key: BODY <astring>
key: TEXT first
key: TEXT <astring>
key: BODY hello
key: SUBJECT greeting
key: SENTSINCE 1-Feb-2004
key: SAVEDATESUPPORTED
sorts: SUBJECT
sorts: REVERSE <sort>
sorts: <sort> <sorts>
sort: ARRIVAL
sort: SIZE
sort: DATE
sort: FROM
sort: TO
sort: CC
sort: DISPLAYFROM
sort: DISPLAYTO
algorithm: REFERENCES
algorithm: REFS
algorithm: ORDEREDSUBJECT
`

// A piece of a command: text, or a literal.
type piece struct {
	text    string
	literal []byte // where not nil, behind the text that announces it
	sync    bool
}

// A maker makes commands out of random octets, always the same of the same ones.
type maker struct {
	data   []byte
	rules  map[string][]string
	pieces []piece
	depth  int
}

func newMaker(data []byte) *maker {
	m := &maker{data: data, rules: map[string][]string{}}
	for _, line := range strings.Split(strings.TrimSpace(commandGrammar), "\n") {
		name, text, _ := strings.Cut(line, ":")
		m.rules[name] = append(m.rules[name], strings.TrimPrefix(text, " "))
	}
	return m
}

// done reports that there are no octets left: everything is 0 from here on.
func (m *maker) done() bool { return len(m.data) == 0 }

// n returns a number below limit.
func (m *maker) n(limit int) int {
	if m.done() {
		return 0
	}
	b := m.data[0]
	m.data = m.data[1:]
	return int(b) % limit
}

// command makes one command without its tag.
func (m *maker) command() []piece {
	m.pieces, m.depth = []piece{{}}, 0
	m.expand("cmd")
	if m.n(16) == 15 {
		m.spoil()
	}
	return m.pieces
}

// mails are contents of literals.
var mails = []string{simple, multipart, "a: b\r\n\r\nc\r\n", "Subject: x\r\nReferences: <a@b> <c@d>\r\nMessage-ID: <a@b>\r\n\r\n<html><b>x", "\r\n", "X: CREATE smuggled\r\nz LOGOUT\r\n"}

var literals = []string{"work", "", "x", "a b\r\nc", "\x00", "\xff\xfe", "z NOOP\r\n", "{5+}\r\n", "ä", strings.Repeat("l", 3000)}

func (m *maker) expand(word string) {
	switch {
	case word == "lit", word == "mail":
		from := literals
		if word == "mail" {
			from = mails
		}
		m.literal(from[m.n(len(from))])
		return
	case strings.HasPrefix(word, "n:"):
		lo, hi, _ := strings.Cut(word[2:], ",")
		a, _ := strconv.Atoi(lo)
		b, _ := strconv.Atoi(hi)
		m.text(strconv.Itoa(a + m.n(b-a+1)))
		return
	}
	rules := m.rules[word]
	if rules == nil {
		m.text("<" + word + ">")
		return
	}
	k := m.n(len(rules))
	if m.depth++; m.depth > 60 {
		k = 0
	}
	for rest := rules[k]; rest != ""; {
		open := strings.IndexByte(rest, '<')
		end := strings.IndexByte(rest[max(open, 0):], '>') + max(open, 0)
		if open < 0 || end < open || m.rules[rest[open+1:end]] == nil && !builtin(rest[open+1:end]) {
			if open < 0 || open == len(rest)-1 {
				m.text(rest)
				break
			}
			m.text(rest[:open+1])
			rest = rest[open+1:]
			continue
		}
		m.text(rest[:open])
		m.expand(rest[open+1 : end])
		rest = rest[end+1:]
	}
	m.depth--
}

func builtin(word string) bool {
	return word == "lit" || word == "mail" || strings.HasPrefix(word, "n:")
}

func (m *maker) text(s string) { m.pieces[len(m.pieces)-1].text += s }

func (m *maker) literal(s string) {
	last := &m.pieces[len(m.pieces)-1]
	last.literal, last.sync = []byte(s), m.n(3) == 1
	last.text += "{" + strconv.Itoa(len(s))
	if !last.sync {
		last.text += "+"
	}
	last.text += "}"
	m.pieces = append(m.pieces, piece{})
}

// spoil changes one octet of the text, but not of what announces a literal.
func (m *maker) spoil() {
	p := &m.pieces[m.n(len(m.pieces))]
	head, tail := p.text, ""
	if p.literal != nil {
		at := strings.LastIndexByte(p.text, '{')
		head, tail = p.text[:at], p.text[at:]
	}
	if head == "" {
		return
	}
	b := []byte(head)
	at := m.n(len(b))
	if with := "\x00\x01 ()[]{}<>\"\\*%,:+~\x7f\x80\xff\rA9"; m.n(4) > 0 {
		b[at] = with[m.n(len(with))]
	} else {
		b = append(b[:at], b[at+1:]...)
	}
	p.text = string(b) + tail
}
