package acceptance

import "testing"

const imapfilterScript = `
options.certificates = false
options.timeout = 20
options.create = true
options.charset = 'UTF-8'
a = IMAP { server = 'localhost', port = %d, username = 'u', password = 'secret', ssl = 'auto' }
function want(what, got, expected)
	if got ~= expected then error(what .. ': ' .. tostring(got) .. ', want ' .. tostring(expected)) end
end

-- Folders.
names = {}
for _, n in ipairs(a:list_all('', '*')) do names[n] = true end
for _, n in ipairs({'INBOX', 'Work', 'Work/Sub', '%s'}) do want('list ' .. n, names[n], true) end
want('create', a:create_mailbox('Neu'), true)
want('rename', a:rename_mailbox('Neu', 'Neuer'), true)
want('subscribe', a:subscribe_mailbox('Neuer'), true)
want('unsubscribe', a:unsubscribe_mailbox('Neuer'), true)
want('delete', a:delete_mailbox('Neuer'), true)

-- Searches.
i = a.INBOX
exist, recent, unseen, uidnext = i:check_status()
want('messages', exist, 5)
want('unseen', unseen, 5)
want('uidnext', uidnext, 6)
want('all', #i:select_all(), 5)
want('subject', #i:contain_subject('message'), 2)
want('larger', #i:is_larger(1000000), 1)
want('body', #i:contain_body('schöne Öfen'), 1)
want('header', #i:contain_field('Message-ID', 'parts@'), 1)
want('older', #i:sent_before('01-Jan-2026'), 0)
want('and', #(i:contain_subject('message') * i:is_smaller(100000)), 2)
want('regexp', #i:match_header('Subject: eig.t'), 1)

-- Bytes.
text = i[4]:fetch_message()
file = io.open('parts', 'wb'); file:write(text); file:close()
file = io.open('big', 'wb'); file:write(i[5]:fetch_message()); file:close()
parts = {}
for part, p in pairs(i[4]:fetch_structure()) do parts[#parts + 1] = part .. ' ' .. p.type end
table.sort(parts)
want('structure', table.concat(parts, ', '), '1 multipart/alternative, 1.1 text/plain, 1.2 text/html, 2 application/octet-stream')
want('size', i[3]:fetch_size(), %d)

-- Flags, copy, move, delete.
want('flag', i:contain_subject('message 0'):mark_flagged(), true)
want('keyword', i:contain_subject('message 0'):add_flags({'$Work', '\\Seen'}), true)
want('flagged', #i:is_flagged(), 1)
want('copy', i:contain_subject('parts'):copy_messages(a.Work), true)
want('move', i:contain_subject('message 1'):move_messages(a['%s']), true)
want('create for a move', i:contain_subject('big'):move_messages(a['Made/On the way']), true)
want('delete', i:contain_subject('eight'):delete_messages(), true)
want('left', #i:select_all(), 2)
`

const imapfilterIdle = `
options.certificates = false
options.timeout = 20
a = IMAP { server = 'localhost', port = %d, username = 'u', password = 'secret', ssl = 'auto' }
want = a.INBOX:select_all()
for n = 1, 2 do
	file = io.open('idling' .. n, 'w'); file:close()
	update = a.INBOX:enter_idle()
	a.INBOX:contain_subject('delivered'):move_messages(a['Work/Sub'])
end
file = io.open('done', 'w'); file:close()
`

func testImapfilter(t *testing.T, b *box) {
	run := func(name string) { t.Helper(); b.run("imapfilter", "-t", b.cert, "-c", name) }
	run(b.file("script.lua", imapfilterScript, b.port, umlaut, len(eightBitMail("eight bits")), umlaut))
	for name, want := range map[string][]byte{"parts": partsMail("parts"), "big": mail("big", 2<<20)} {
		if got := b.read(name); got != string(want) {
			t.Errorf("imapfilter fetched %s as %d bytes that differ", name, len(got))
		}
	}
	b.has("INBOX", "message 0", "parts")
	b.flags("INBOX", "message 0", `\Seen`, `\Flagged`, "$Work")
	b.has("Work", "parts")
	b.has(umlautUTF7, "message 1")
	b.has("Made.On the way", "big")

	b.restart()
	b.background("imapfilter", "-t", b.cert, "-c", b.file("idle.lua", imapfilterIdle, b.port))
	for _, n := range []string{"1", "2"} {
		b.until("imapfilter to idle", func() bool { return b.exists("idling" + n) })
		b.deliver(mail("delivered "+n, 600))
	}
	b.until("imapfilter to end", func() bool { return b.exists("done") })
	b.has("Work.Sub", "delivered 1", "delivered 2")
	b.has("INBOX", "message 0", "parts")
}
