package imapd

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"mailcrypt/metadata"
	"mailcrypt/quota"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// An independent client's use of every command that it has.
func TestImapclient(t *testing.T) {
	for _, rev2 := range []bool{false, true} {
		name := "rev1"
		if rev2 {
			name = "rev2"
		}
		t.Run(name, func(t *testing.T) { testImapclient(t, rev2) })
	}
}

func testImapclient(t *testing.T, rev2 bool) {
	f := newFixture(t)
	f.user.special["Sent"] = `\Sent`
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	expunged := make(chan uint32, 10)
	c := imapclient.New(nc, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(n uint32) { expunged <- n },
	}})
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Login("alice", "secret").Wait())
	if rev2 {
		if _, err := c.Enable(imap.CapIMAP4rev2).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	must(c.Create("Sent", nil).Wait())
	must(c.Create("Entwürfe alt", nil).Wait())
	must(c.Subscribe("Sent").Wait())
	list, err := c.List("", "*", &imap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: true,
		ReturnStatus: &imap.StatusOptions{NumMessages: true}}).Collect()
	must(err)
	var names []string
	for _, l := range list {
		names = append(names, l.Mailbox)
		if l.Mailbox == "Sent" && (!slices.Contains(l.Attrs, imap.MailboxAttrSent) ||
			!slices.Contains(l.Attrs, imap.MailboxAttrSubscribed) || l.Status == nil || *l.Status.NumMessages != 0) {
			t.Errorf("Sent: %+v", l)
		}
	}
	if want := []string{"INBOX", "Entwürfe alt", "Sent"}; !slices.Equal(names, want) {
		t.Errorf("LIST %q, want %q", names, want)
	}

	text := strings.ReplaceAll(multipart, "\n", "\r\n")
	for range 3 {
		a := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged}})
		_, err := io.WriteString(a, text)
		must(err)
		must(a.Close())
		data, err := a.Wait()
		must(err)
		if data.UID == 0 || data.UIDValidity == 0 {
			t.Errorf("APPEND: %+v", data)
		}
	}
	sel, err := c.Select("INBOX", nil).Wait()
	must(err)
	if sel.NumMessages != 3 || sel.UIDNext != 4 {
		t.Errorf("SELECT: %+v", sel)
	}
	testFetch(t, c, text)

	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"grüße"}, Header: []imap.SearchCriteriaHeaderField{
		{Key: "From", Value: "jürgen"}}}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	must(err)
	if found.Count != 3 || len(found.AllUIDs()) != 3 {
		t.Errorf("SEARCH: %+v", found)
	}
	stored, err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd,
		Flags: []imap.Flag{imap.FlagDeleted, "$Label"}}, nil).Collect()
	must(err)
	if len(stored) != 1 || !slices.Contains(stored[0].Flags, "$Label") {
		t.Errorf("STORE: %+v", stored)
	}
	copied, err := c.Copy(imap.UIDSetNum(2, 3), "Sent").Wait()
	must(err)
	if copied.DestUIDs.String() != "1:2" {
		t.Errorf("COPY: %+v", copied)
	}
	moved, err := c.Move(imap.UIDSetNum(3), "Entwürfe alt").Wait()
	must(err)
	if moved.SourceUIDs.String() != "3" || moved.DestUIDs.String() != "1" {
		t.Errorf("MOVE: %+v", moved)
	}
	if n := <-expunged; n != 3 {
		t.Errorf("MOVE expunged %d", n)
	}
	gone, err := c.Expunge().Collect()
	must(err)
	if !slices.Equal(gone, []uint32{1}) {
		t.Errorf("EXPUNGE: %v", gone)
	}
	status, err := c.Status("Sent", &imap.StatusOptions{NumMessages: true, UIDNext: true, NumUnseen: true, Size: true}).Wait()
	must(err)
	if *status.NumMessages != 2 || status.UIDNext != 3 || *status.Size != 2*int64(len(text)) {
		t.Errorf("STATUS: %+v", status)
	}
	if _, err := c.Namespace().Wait(); err != nil {
		t.Error(err)
	}
	if id, err := c.ID(&imap.IDData{Name: "test"}).Wait(); err != nil || id.Name != "mailcryptd" {
		t.Errorf("ID: %+v, %v", id, err)
	}
	must(c.Rename("Sent", "Sent2", nil).Wait())
	must(c.Delete("Sent2").Wait())
	idle, err := c.Idle()
	must(err)
	must(idle.Close())
	must(idle.Wait())
	must(c.Unselect().Wait())
	must(c.Logout().Wait())
}

func testFetch(t *testing.T, c *imapclient.Client, text string) {
	t.Helper()
	whole := &imap.FetchItemBodySection{Peek: true}
	part := &imap.FetchItemBodySection{Part: []int{1}, Peek: true, Partial: &imap.SectionPartial{Offset: 4, Size: 8}}
	decoded := &imap.FetchItemBinarySection{Part: []int{1}, Peek: true}
	msgs, err := c.Fetch(imap.SeqSetNum(2), &imap.FetchOptions{UID: true, Flags: true, Envelope: true, InternalDate: true,
		RFC822Size: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection:       []*imap.FetchItemBodySection{whole, part},
		BinarySection:     []*imap.FetchItemBinarySection{decoded},
		BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{1}}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if len(msgs) != 1 {
		t.Fatalf("%d messages", len(msgs))
	}
	m := msgs[0]
	if got := m.FindBodySection(whole); string(got) != text {
		t.Errorf("BODY[] = %q", got)
	}
	if got := m.FindBodySection(part); string(got) != "vMOfZSBh" {
		t.Errorf("BODY[1]<4.8> = %q", got)
	}
	if got := m.FindBinarySection(decoded); string(got) != "Grüße aus Berlin" {
		t.Errorf("BINARY[1] = %q", got)
	}
	if m.RFC822Size != int64(len(text)) || m.UID != 2 || m.Envelope.Subject != "Übersicht" || m.Envelope.From[0].Name != "Jürgen" {
		t.Errorf("FETCH: %+v %+v", m, m.Envelope)
	}
	multi, ok := m.BodyStructure.(*imap.BodyStructureMultiPart)
	if !ok || len(multi.Children) != 2 || multi.Children[1].MediaType() != "application/pdf" {
		t.Errorf("BODYSTRUCTURE: %+v", m.BodyStructure)
	}
}

// memConn gives a session its whole input at once.
type memConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *memConn) Read(p []byte) (int, error)         { return c.in.Read(p) }
func (c *memConn) Write(p []byte) (int, error)        { return c.out.Write(p) }
func (c *memConn) Close() error                       { return nil }
func (c *memConn) RemoteAddr() net.Addr               { return &net.UnixAddr{Net: "unix"} }
func (c *memConn) SetReadDeadline(t time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { return nil }

// FuzzCommand gives a session that has logged in any input: no panic, an end, and only
// whole lines as answer.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"a CAPABILITY\r\nb NOOP\r\nc LOGOUT\r\n", "a ID (\"name\" \"x\" \"y\" NIL)\r\n", "a ENABLE IMAP4rev2 UTF8=ACCEPT\r\n",
		"a NAMESPACE\r\nb SELECT INBOX\r\nc EXAMINE INBOX\r\nd CHECK\r\n", "a CREATE x (USE (\\Sent))\r\nb RENAME x y\r\nc DELETE y\r\n",
		"a SUBSCRIBE x\r\nb LSUB \"\" %\r\nc UNSUBSCRIBE x\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"*\" %) RETURN (STATUS (MESSAGES SIZE) CHILDREN)\r\n",
		"a STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE APPENDLIMIT)\r\n",
		"a APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0100\" {5+}\r\na: b\n\r\n", "a APPEND INBOX UTF8 (~{3+}\r\na\x00b)\r\n",
		"a APPEND INBOX {3+}\r\na:b () CATENATE (TEXT {3+}\r\nc:d URL \"/INBOX/;UID=1/;SECTION=1.MIME/;PARTIAL=0.9\" UTF8 (~{1+}\r\nx))\r\n",
		"s SELECT INBOX\r\na REPLACE 1 INBOX (\\Draft) {3+}\r\na:b\r\nb UID REPLACE 2 INBOX CATENATE (URL ;UID=2)\r\n",
		"s SELECT INBOX\r\na FETCH 1:* (PREVIEW SAVEDATE EMAILID THREADID)\r\nb FETCH 1 PREVIEW (LAZY)\r\nc SEARCH EMAILID x THREADID y\r\n",
		"s SELECT INBOX\r\na FETCH 1:* (FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)\r\n",
		"s SELECT INBOX\r\na FETCH 1 (BODY[1.HEADER.FIELDS (a b)]<0.5> BODY.PEEK[2.MIME] RFC822 BINARY[1] BINARY.SIZE[2])\r\n",
		"s SELECT INBOX\r\na UID STORE 1:* +FLAGS.SILENT (\\Deleted k)\r\nb EXPUNGE\r\nc CLOSE\r\n",
		"s SELECT INBOX\r\na SEARCH RETURN (MIN SAVE) OR NOT SEEN (TEXT x SINCE 1-Feb-2024) UID 1:* HEADER a \"b\"\r\nb FETCH $ UID\r\n",
		"s SELECT INBOX\r\na COPY 1 INBOX\r\nb UID MOVE 1 INBOX\r\nc UID EXPUNGE 1\r\nd UNSELECT\r\n",
		"s SELECT INBOX\r\na SORT RETURN (PARTIAL -1:-2 SAVE) (REVERSE SUBJECT SIZE DATE DISPLAYFROM) UTF-8 ALL\r\nb UID SORT (CC) UTF-8 $\r\n",
		"s SELECT INBOX\r\na THREAD REFERENCES UTF-8 ALL\r\nb UID THREAD REFS UTF-8 TEXT x\r\nc THREAD ORDEREDSUBJECT US-ASCII 1:*\r\n",
		"s SELECT INBOX\r\na UID FETCH 1:* UID (PARTIAL 1:2)\r\nb SEARCH RETURN (MIN PARTIAL 1:9 COUNT) SAVEDSINCE 1-Feb-2024\r\n",
		"a GETQUOTAROOT INBOX\r\nb GETQUOTA \"User quota\"\r\nc SETQUOTA \"\" (STORAGE 1 MESSAGE 2)\r\nd STATUS INBOX (DELETED-STORAGE)\r\n",
		"a SETMETADATA INBOX (/private/comment \"x\" /shared/vendor/a ~{2+}\r\n\x00y /private/b NIL)\r\nb GETMETADATA (DEPTH infinity MAXSIZE 5) INBOX (/private /shared)\r\n",
		"a GETMETADATA \"\" (DEPTH 1) /private\r\nb LIST \"\" * RETURN (METADATA (/private/comment))\r\n",
		"e ENABLE QRESYNC\r\na SELECT INBOX (CONDSTORE QRESYNC (1 2 1:9 (1 1)))\r\nb UID FETCH 1:* (MODSEQ FLAGS) (CHANGEDSINCE 1 VANISHED)\r\n",
		"s SELECT INBOX\r\na STORE 1:2 (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Deleted)\r\nb SEARCH MODSEQ \"/flags/x\" all 2\r\nc STATUS INBOX (HIGHESTMODSEQ)\r\nd EXPUNGE\r\n",
		"a IDLE\r\nDONE\r\n", "a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n", "a LOGIN {5+}\r\nalice \"secret\"\r\na STARTTLS\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		fx := newFixtureQuiet(t)
		fx.user.annotations = metadata.New(memoryDict{}, metadata.Limits{})
		fx.user.quota = &quotaState{"User quota", quota.Usage{}, quota.Limits{Bytes: 1, Messages: 1}}
		nc := &memConn{in: bytes.NewReader(append([]byte("l LOGIN alice secret\r\n"), in...))}
		newSession(fx.srv, nc).run(false)
		if fx.metrics.panics > 0 {
			t.Fatalf("panic: %s", fx.log.String())
		}
		if out := nc.out.Bytes(); len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
			t.Fatalf("half a line: %q", out[max(0, len(out)-100):])
		}
	})
}
