// A round trip of imapflow through mailcryptd, run by acceptance/client_imapflow_test.go.
//
// Every line of JSON on the standard output asks the test for something that another user
// or the administrator would do; a line on the standard input says that it is done.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';
import { ImapFlow } from 'imapflow';

const { port, ca, options, umlaut, files } = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(what) {
    console.log(JSON.stringify(what));
    const { done } = await answers.next();
    assert(!done, 'the test is gone');
}
const sha = data => createHash('sha256').update(data).digest('hex');
const message = name => readFileSync(files[name]);

async function connect() {
    const client = new ImapFlow({
        host: 'localhost', port, secure: true, tls: { ca: readFileSync(ca) },
        auth: { user: 'u', pass: 'secret' }, logger: false, ...options
    });
    client.on('error', () => {}); // the end of the daemon
    await client.connect();
    return client;
}

// next waits for an event and returns its data.
function next(client, event, matches = () => true) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('no ' + event + ' was told')), 20000);
        client.on(event, function handler(data) {
            if (matches(data)) {
                clearTimeout(timer);
                client.off(event, handler);
                resolve(data);
            }
        });
    });
}

let client = await connect();
await ask({ log: 'imapflow ' + ImapFlow.version + '; enabled: ' + [...client.enabled].sort().join(' ') + '; offered: ' + [...client.capabilities.keys()].sort().join(' ') });

// Folders.
const names = (await client.list({ statusQuery: { messages: true } })).map(f => f.path + ' ' + f.status?.messages).sort();
assert.deepEqual(names, [umlaut + ' 0', 'INBOX 5', 'Work 0', 'Work.Sub 0'].sort());
assert((await client.mailboxCreate('日本 & mehr')).created);
await client.mailboxRename('日本 & mehr', 'Über & mehr');
assert(await client.mailboxSubscribe('Über & mehr'));
assert((await client.list()).find(f => f.path === 'Über & mehr').subscribed);

// Uploads, and their bytes.
for (const name of ['small', 'large']) {
    const { uid } = await client.append('Über & mehr', message(name), ['\\Seen', '$Label'], new Date(1700000000000));
    assert(uid, 'APPEND told no UID');
}
await client.mailboxOpen('Über & mehr');
for (const [uid, name] of [[1, 'small'], [2, 'large']]) {
    const got = await client.fetchOne(uid, { source: true, flags: true, internalDate: true, size: true }, { uid: true });
    assert.equal(sha(got.source), sha(message(name)));
    assert.equal(got.size, message(name).length);
    assert(got.flags.has('\\Seen') && got.flags.has('$Label'));
    assert.equal(+got.internalDate, 1700000000000);
}

// What others put there.
await client.mailboxOpen('INBOX');
const all = await client.fetchAll('1:*', { uid: true, envelope: true, bodyStructure: true, source: true, headers: ['subject'], threadId: true });
assert.deepEqual(all.map(m => m.envelope.subject), ['message 0', 'message 1', 'eight bits', 'parts', 'big']);
for (const m of all) {
    assert.equal(sha(m.source), sha(message(m.envelope.subject)), m.envelope.subject);
}
assert.equal(all[2].envelope.from[0].name, 'Jürgen');
assert.deepEqual(all[3].bodyStructure.childNodes.map(n => n.type), ['multipart/alternative', 'application/octet-stream']);
const { content, meta } = await client.download('4', '2', { uid: true });
const chunks = [];
for await (const chunk of content) {
    chunks.push(chunk);
}
assert.equal(meta.filename, 'a.bin');
assert.deepEqual(Buffer.concat(chunks), Buffer.from(Array.from({ length: 256 }, (_, i) => i)));

// Searches.
const search = async (query, want) => assert.deepEqual(await client.search(query, { uid: true }), want, JSON.stringify(query));
await search({ body: 'schöne Öfen' }, [3]);
await search({ subject: 'message' }, [1, 2]);
await search({ header: { 'message-id': 'parts@example.org' } }, [4]);
await search({ larger: 1000000 }, [5]);
await search({ or: [{ uid: '2' }, { subject: 'parts' }] }, [2, 4]);
await search({ not: { unDeleted: true } }, []);

// Flags, copy, move, delete.
assert(await client.messageFlagsAdd('1', ['\\Flagged', '$Work'], { uid: true }));
assert(await client.messageFlagsRemove('1', ['$Work'], { uid: true }));
assert.deepEqual([...(await client.fetchOne('1', { flags: true })).flags].filter(f => f !== '\\Recent'), ['\\Flagged']);
assert.deepEqual([...(await client.messageCopy('4', 'Work', { uid: true })).uidMap], [[4, 1]]);
assert.deepEqual([...(await client.messageMove('5', umlaut, { uid: true })).uidMap], [[5, 1]]);
assert(await client.messageDelete('2', { uid: true }));
assert.equal((await client.status('INBOX', { messages: true, unseen: true })).messages, 3);
await client.getQuota('INBOX'); // false where there is none

// Changes are told while it idles.
client.idle();
let told;
for (const [count, subject] of [[4, 'delivered'], [5, 'short-lived']]) {
    told = next(client, 'exists', e => e.count === count);
    await ask({ deliver: subject });
    await told;
}
told = next(client, 'flags', e => e.flags.has('\\Answered'));
await ask({ imap: 'STORE 1 +FLAGS (\\Answered)' });
await told;
told = next(client, 'expunge');
await ask({ imap: 'UID MOVE 3 Work.Sub' });
const gone = await told;
assert(gone.vanished ? gone.uid === 3 : gone.seq === 2, inspect(gone));

// The daemon goes and comes back; a new session catches up.
await client.noop();
const before = client.mailbox;
const closed = next(client, 'close');
await ask({ restart: true });
await closed;
await ask({ imap: 'STORE 1 FLAGS ($Changed)' });
await ask({ imap: 'UID MOVE 7 Work.Sub' });
client = await connect();
const vanished = [];
client.on('expunge', e => vanished.push(e.uid));
const box = await client.mailboxOpen('INBOX', options.qresync ? { changedSince: before.highestModseq, uidValidity: before.uidValidity } : {});
if (client.enabled.has('QRESYNC')) {
    assert(vanished.includes(7), inspect(vanished)); // told by SELECT
}
assert.equal(box.uidValidity, before.uidValidity);
assert.equal(box.exists, 3);
if (box.highestModseq && before.highestModseq) {
    const changed = await client.fetchAll('1:*', { uid: true, flags: true }, { uid: true, changedSince: before.highestModseq });
    const first = changed.find(m => m.uid === 1);
    assert(first?.flags.has('$Changed'), 'CHANGEDSINCE misses a change: ' + inspect(changed));
    assert(changed.length < 3, 'CHANGEDSINCE gives what has not changed');
    await ask({ log: 'caught up by modseq ' + before.highestModseq + ' to ' + box.highestModseq });
}
await client.mailboxOpen('Work', { readOnly: true });
await client.mailboxClose();
await client.mailboxUnsubscribe('Über & mehr');
await client.mailboxDelete('Über & mehr');
assert(!(await client.list()).some(f => f.path === 'Über & mehr'));
await client.logout();
await ask({ done: true });
process.exit(0);
