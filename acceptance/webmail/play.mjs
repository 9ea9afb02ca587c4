// Plays Roundcube in a browser against mailcryptd. scripts/test-webmail starts everything and
// runs this; another connection, imapflow's, judges what Roundcube did.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';
import { chromium } from 'playwright-core';

const { web, imap, ca, out, tmp } = JSON.parse(process.argv[2]);
const password = 'correct horse';
const umlaut = 'Entwürfe & Pläne';
const attachment = Buffer.from(Array.from({ length: 100000 }, (_, i) => (i * i) & 255));

// What is in the mailbox before.
const crlf = text => text.replace(/\r?\n/g, '\r\n');
const header = (n, subject, more = '') => `From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>
To: alice@example.org
Subject: ${subject}
Date: ${new Date(Date.UTC(2026, 6, n, 10)).toUTCString()}
Message-ID: <${n}@example.org>
${more}MIME-Version: 1.0
`;
const messages = [
    header(1, 'plain text') + 'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße, schöne Öfen, 日本\n',
    header(2, 'with parts') + `Content-Type: multipart/mixed; boundary=x

--x
Content-Type: multipart/alternative; boundary=y

--y
Content-Type: text/plain

plain words
--y
Content-Type: text/html

<p>words of <b>bold HTML</b></p>
--y--

--x
Content-Type: application/octet-stream; name="a.bin"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="a.bin"

${attachment.toString('base64').replace(/.{76}/g, '$&\n')}
--x--
`,
    header(3, 'talk') + '\nthe first of a talk\n',
    header(4, 'Re: talk', 'In-Reply-To: <3@example.org>\nReferences: <3@example.org>\n') + '\nthe second\n',
    header(5, 'Re: talk', 'In-Reply-To: <4@example.org>\nReferences: <3@example.org> <4@example.org>\n') + '\nthe third\n',
    header(6, '=?utf-8?b?w5xiZXJzaWNodA==?=') + '\nan overview\n',
    header(7, 'to be deleted') + '\nnot for long\n'
].map(crlf);

const client = new ImapFlow({
    host: 'localhost', port: imap, secure: true, tls: { ca: readFileSync(ca) },
    auth: { user: 'alice', pass: password }, logger: false
});
for (let tries = 0; ; tries++) {
    try {
        await client.connect();
        break;
    } catch (err) {
        assert(err.code === 'ECONNREFUSED' && tries < 100, err);
        await new Promise(resolve => setTimeout(resolve, 100));
    }
}
for (const m of messages) {
    await client.append('INBOX', m);
}
async function see(mailbox) {
    await client.mailboxOpen(mailbox, { readOnly: true });
    const all = client.mailbox.exists ? await client.fetchAll('1:*', { envelope: true, flags: true, source: true }) : [];
    await client.mailboxClose();
    // A change that is told meanwhile looks like one more message, without an envelope.
    return Object.fromEntries(all.filter(m => m.envelope).map(m => [m.envelope.subject, { flags: m.flags, source: m.source }]));
}
// until waits for what Roundcube does in the background.
async function until(what, done) {
    for (let tries = 0; tries < 100; tries++) {
        if (await done()) {
            return;
        }
        await new Promise(resolve => setTimeout(resolve, 100));
    }
    assert.fail('waited in vain for ' + what);
}

const context = await chromium.launchPersistentContext(mkdtempSync(tmp + '/browser-'), {
    executablePath: '/usr/bin/chromium', headless: true, viewport: { width: 1280, height: 800 }, acceptDownloads: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
});
const page = context.pages()[0] ?? await context.newPage();
page.setDefaultTimeout(10000);
const faults = [];
page.on('pageerror', err => faults.push(err.message));

let steps = 0;
async function step(name, play) {
    try {
        await play();
    } catch (err) {
        await page.screenshot({ path: `${out}/failed.png` });
        throw new Error(name + ': ' + err.message, { cause: err });
    }
    await page.screenshot({ path: `${out}/${String(++steps).padStart(2, '0')}-${name.replace(/\W+/g, '-')}.png` });
    console.log('ok', name);
}
// idle waits until Roundcube waits for nothing; it says by a message where something failed.
async function idle() {
    await page.waitForFunction(() => window.rcmail && !rcmail.busy && !document.querySelector('#messagestack .loading'));
    const said = await page.locator('#messagestack .error, #messagestack .warning').allTextContents();
    assert.deepEqual(said, []);
}
const row = subject => page.locator('#messagelist tbody tr', { has: page.locator('.subject a', { hasText: subject }) }).first();
const subjects = async () => (await page.locator('#messagelist tbody tr:visible .subject a').allTextContents()).map(s => s.trim());
const folder = name => page.locator('#mailboxlist a', { hasText: name }).first();
const content = page.frameLocator('#messagecontframe');

try {
    await step('login', async () => {
        await page.goto(`http://127.0.0.1:${web}/`);
        await page.fill('#rcmloginuser', 'alice');
        await page.fill('#rcmloginpwd', password);
        await page.click('#rcmloginsubmit');
        await row('plain text').waitFor();
        await idle();
        assert.deepEqual(await subjects(), ['to be deleted', 'Übersicht', 'Re: talk', 'Re: talk', 'talk', 'with parts', 'plain text']);
    });
    await step('quota', async () => {
        await page.waitForFunction(() => /^[1-9]\d?%$/.test(document.querySelector('#quotadisplay .count')?.textContent));
    });
    await step('read text', async () => {
        await row('plain text').click();
        await content.getByText('Grüße, schöne Öfen, 日本').waitFor();
        await idle();
        await until('\\Seen', async () => (await see('INBOX'))['plain text'].flags.has('\\Seen'));
    });
    await step('read HTML', async () => {
        await row('with parts').click();
        await content.locator('b', { hasText: 'bold HTML' }).waitFor();
        await idle();
    });
    await step('download', async () => {
        await content.locator('#attachment-list a.dropdown').click();
        const [download] = await Promise.all([page.waitForEvent('download'), content.locator('#attachmenudownload').click()]);
        assert.deepEqual(readFileSync(await download.path()), attachment);
    });
    await step('flag', async () => {
        await row('Übersicht').click();
        await content.getByText('an overview').waitFor();
        await page.locator('#markmessagemenulink').click();
        await page.locator('#markmessage-menu a.flag').click();
        await until('\\Flagged', async () => (await see('INBOX'))['Übersicht'].flags.has('\\Flagged'));
        await idle();
    });
    await step('delete to Trash', async () => {
        await row('to be deleted').click();
        await content.getByText('not for long').waitFor();
        await page.locator('#mailtoolbar a.delete, #toolbar-menu a.delete').first().click();
        await until('the move', async () => 'to be deleted' in await see('Trash'));
        assert(!('to be deleted' in await see('INBOX')));
        await idle();
    });
    await step('search', async () => {
        await page.fill('#mailsearchform', 'Übersicht');
        await page.press('#mailsearchform', 'Enter');
        await page.waitForFunction(() => document.querySelectorAll('#messagelist tbody tr').length === 1);
        await idle();
        assert.deepEqual(await subjects(), ['Übersicht']);
    });
    await step('search bodies', async () => {
        await page.locator('#layout-list .searchbar a.options').first().click();
        await page.check('input[name="s_mods[]"][value="body"]');
        await page.fill('#mailsearchform', 'schöne');
        await page.press('#mailsearchform', 'Enter');
        await row('plain text').waitFor();
        await idle();
        assert.deepEqual(await subjects(), ['plain text']);
        await page.locator('.searchbar a.reset').first().click();
        await row('with parts').waitFor();
    });
    const listOptions = async (mode, column) => {
        await page.locator('#layout-list .header a.options').first().click();
        await page.locator('.popover select[name="mode"], .ui-dialog select[name="mode"]').selectOption(mode);
        await page.locator('.popover select[name="sort_col"], .ui-dialog select[name="sort_col"]').selectOption(column);
        await page.locator('.ui-dialog button.save, .popover button.save').click();
        await page.waitForTimeout(500);
        await idle();
    };
    await step('sort by subject', async () => {
        await listOptions('list', 'subject');
        await page.waitForFunction(() => document.querySelector('#messagelist tbody tr .subject a')?.textContent.includes('with parts'));
        assert.deepEqual(await subjects(), ['with parts', 'Übersicht', 'Re: talk', 'Re: talk', 'talk', 'plain text']);
    });
    await step('threads', async () => {
        await listOptions('threads', 'date');
        await page.waitForFunction(() => document.querySelectorAll('#messagelist tr.thread').length > 0);
        await page.evaluate(() => rcmail.command('expand-all'));
        await page.waitForFunction(() => document.querySelectorAll('#messagelist tbody tr').length === 6);
assert.deepEqual(await subjects(), ['Übersicht', 'talk', 'Re: talk', 'Re: talk', 'with parts', 'plain text']);
    });
    await step('draft', async () => {
        await listOptions('list', '');
        writeFileSync(tmp + '/upload.bin', attachment);
        await page.locator('#taskmenu a.compose').click();
        await page.waitForSelector('#compose-subject');
        await page.fill('#compose-subject', 'Entwurf: schöne Öfen');
        await page.fill('#composebody', 'written in a browser\nGrüße\n');
        await page.evaluate(() => { document.querySelector('[name="_to"]').value = 'b@example.org'; });
        await page.locator('#uploadformInput, input[type="file"][name="_attachments[]"]').first().setInputFiles(tmp + '/upload.bin');
        await page.locator('#attachment-list li', { hasText: 'upload.bin' }).waitFor();
        await page.waitForFunction(() => !document.querySelector('#attachment-list li.uploading'));
        await page.locator('a.save.draft, a.draft').first().click();
        await until('the draft', async () => 'Entwurf: schöne Öfen' in await see('Drafts'));
        const draft = (await see('Drafts'))['Entwurf: schöne Öfen'];
        assert(draft.flags.has('\\Draft') || draft.flags.has('\\Seen'), [...draft.flags].join());
        const text = draft.source.toString('latin1');
        assert(text.replace(/\s/g, '').includes(attachment.toString('base64')), 'the attachment differs');
    });
    await step('the draft again', async () => {
        await page.evaluate(() => { rcmail.compose_skip_unsavedcheck = true; window.onbeforeunload = null; });
        await page.locator('#taskmenu a.mail').click();
        await row('Übersicht').waitFor();
        await idle();
        await folder('Drafts').click();
        await row('Entwurf: schöne Öfen').waitFor();
        await row('Entwurf: schöne Öfen').click();
        await content.getByText('written in a browser').waitFor();
        await idle();
    });
    const settings = page.frameLocator('#preferences-frame');
    const settingsFolder = name => page.locator('#subscription-table li a', { hasText: name }).first();
    await step('create a folder', async () => {
        await page.locator('#taskmenu a.settings').click();
        await page.locator('#settings-menu li.folders a').click();
        await page.locator('#subscription-table').waitFor();
        await page.locator('#toolbar-menu a.create').click();
        await settings.locator('#_name').fill(umlaut);
        await settings.locator('button.submit, button.mainaction').first().click();
        await settingsFolder(umlaut).waitFor();
        const made = (await client.list()).find(f => f.path === umlaut);
        assert(made?.subscribed);
    });
    await step('rename a folder', async () => {
        await settingsFolder(umlaut).click();
        await settings.locator('#_name').fill('Über & mehr');
        await settings.locator('button.submit, button.mainaction').first().click();
        await settingsFolder('Über & mehr').waitFor();
        assert((await client.list()).some(f => f.path === 'Über & mehr'));
        assert(!(await client.list()).some(f => f.path === umlaut));
    });
    await step('unsubscribe and subscribe', async () => {
        const box = page.locator('#subscription-table li', { hasText: 'Über & mehr' }).locator('input[type="checkbox"]').first();
        const subscribed = async () => (await client.list()).find(f => f.path === 'Über & mehr').subscribed;
        await box.evaluate(e => e.click());
        await until('the end of the subscription', async () => !await subscribed());
        await box.evaluate(e => e.click());
        await until('the subscription', subscribed);
        await idle();
    });
    await step('move into the folder', async () => {
        await page.locator('#taskmenu a.mail').click();
        await row('plain text').waitFor();
        await idle();
        await row('plain text').click();
        await content.getByText('schöne Öfen').waitFor();
        await row('plain text').dragTo(folder('Über & mehr'));
        await until('the move', async () => 'plain text' in await see('Über & mehr'));
        assert.equal((await see('Über & mehr'))['plain text'].source.toString(), messages[0]);
        await idle();
    });
    await step('new mail', async () => {
        await client.append('INBOX', crlf(header(8, 'news') + '\nthe news\n'));
        await page.locator('a.refresh').first().click();
        await row('news').waitFor();
        await idle();
    });
    await step('delete for good', async () => {
        await folder('Trash').click();
        await row('to be deleted').waitFor();
        await row('to be deleted').click();
        await content.getByText('not for long').waitFor();
        await page.locator('#mailtoolbar a.delete, #toolbar-menu a.delete').first().click();
        await until('the expunge', async () => Object.keys(await see('Trash')).length === 0);
        await idle();
    });
    await step('delete the folder', async () => {
        await page.locator('#taskmenu a.settings').click();
        await page.locator('#settings-menu li.folders a').click();
        await settingsFolder('Über & mehr').click();
        await settings.locator('#_name').waitFor();
        await page.locator('a[onclick*="delete-folder"]:not(.disabled)').click();
        await page.locator('.ui-dialog button.delete').click();
        await until('the folder to go', async () => !(await client.list()).some(f => f.path === 'Über & mehr'));
        await idle();
    });
    await step('logout', async () => {
        await page.locator('#taskmenu a.logout').click();
        await page.waitForSelector('#rcmloginuser');
    });
    assert.deepEqual(faults, []);
} finally {
    await context.close();
    await client.logout().catch(() => {});
}
console.log(`${steps} passed, 0 failed`);
