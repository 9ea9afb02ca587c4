package acceptance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// testImapclient is go-imap's client, in both revisions of IMAP.
func testImapclient(t *testing.T, b *box) {
	t.Run("rev1", func(t *testing.T) { b.t = t; useImapclient(b, false) })
	t.Run("rev2", func(t *testing.T) { b := newBox(t); useImapclient(b, true) })
}

// dialImapclient logs in over TLS, trusting the CA alone.
func (b *box) dialImapclient(rev2 bool, o *imapclient.Options) *imapclient.Client {
	b.t.Helper()
	pem, err := os.ReadFile(b.cert)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	o.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	c, err := imapclient.DialTLS(fmt.Sprintf("localhost:%d", b.port), o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	if err := c.Login("u", "secret").Wait(); err != nil {
		b.t.Fatal(err)
	}
	if rev2 {
		if _, err := c.Enable(imap.CapIMAP4rev2).Wait(); err != nil {
			b.t.Fatal(err)
		}
	}
	return c
}

func useImapclient(b *box, rev2 bool) {
	t := b.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// go-imap v2.0.0-beta.8 takes an & for modified UTF-7 where names are UTF-8 as they are.
	const plain = "Entwürfe"
	b.c.do("RENAME %s Entw&APw-rfe", quote(umlautUTF7))
	exists, expunged := make(chan uint32, 10), make(chan uint32, 10)
	c := b.dialImapclient(rev2, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		},
		Expunge: func(n uint32) { expunged <- n },
	}})
	list, err := c.List("", "*", &imap.ListOptions{ReturnSubscribed: true, ReturnStatus: &imap.StatusOptions{NumMessages: true}}).Collect()
	must(err)
	counts := map[string]uint32{}
	for _, l := range list {
		counts[l.Mailbox] = *l.Status.NumMessages
	}
	for name, n := range map[string]uint32{"INBOX": 5, "Work": 0, "Work.Sub": 0, plain: 0} {
		if got, ok := counts[name]; !ok || got != n {
			t.Errorf("%s: %v %d, want %d", name, ok, got, n)
		}
	}
	must(c.Create("日本語", nil).Wait())
	must(c.Rename("日本語", "Über", nil).Wait())

	for _, m := range []boxMessage{{"small", eightBitMail("small")}, {"large", mail("large", 3<<20)}} {
		a := c.Append("Über", int64(len(m.message)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Label"}, Time: time.Unix(1700000000, 0)})
		_, err := a.Write(m.message)
		must(err)
		must(a.Close())
		data, err := a.Wait()
		must(err)
		if data.UID == 0 {
			t.Error("APPEND told no UID")
		}
	}
	b.flags("&ANw-ber", "small", `\Seen`, "$Label")

	_, err = c.Select("INBOX", nil).Wait()
	must(err)
	section := &imap.FetchItemBodySection{Peek: true}
	messages := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{UID: true, Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section}})
	n := 0
	for m := messages.Next(); m != nil; m = messages.Next() {
		for item := m.Next(); item != nil; item = m.Next() {
			if body, ok := item.(imapclient.FetchItemDataBodySection); ok {
				got, err := io.ReadAll(body.Literal)
				must(err)
				if !bytes.Equal(got, boxMail[n].message) {
					t.Errorf("%s came as %d bytes that differ", boxMail[n].subject, len(got))
				}
			}
		}
		n++
	}
	must(messages.Close())
	if n != len(boxMail) {
		t.Errorf("FETCH gave %d messages", n)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"schöne Öfen"}}, nil).Wait()
	must(err)
	if uids := found.AllUIDs(); !slices.Equal(uids, []imap.UID{3}) {
		t.Errorf("SEARCH: %v", uids)
	}
	_, err = c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
	must(err)
	_, err = c.Copy(imap.UIDSetNum(4), "Work").Wait()
	must(err)
	_, err = c.Move(imap.UIDSetNum(5), plain).Wait()
	must(err)
	must(c.Expunge().Close())
	b.has("INBOX", "message 1", "eight bits", "parts")
	b.has("Work", "parts")
	if got := b.has("Entw&APw-rfe", "big"); !bytes.Equal(got["big"].body, mail("big", 2<<20)) {
		t.Error("the message that was moved differs")
	}

	// What others do is told while the client idles.
	for len(exists) > 0 {
		<-exists
	}
	for len(expunged) > 0 {
		<-expunged
	}
	idle, err := c.Idle()
	must(err)
	b.deliver(mail("delivered", 600))
	wantTold(t, exists, 4)
	b.c.do("SELECT INBOX")
	b.c.do(`STORE 2 +FLAGS (\Deleted)`)
	b.c.do("EXPUNGE")
	wantTold(t, expunged, 2)
	must(idle.Close())
	must(idle.Wait())

	b.restart()
	if err := c.Noop().Wait(); err == nil {
		t.Error("the connection outlived the daemon")
	}
	c = b.dialImapclient(rev2, &imapclient.Options{})
	sel, err := c.Select("Über", nil).Wait()
	must(err)
	if sel.NumMessages != 2 {
		t.Errorf("after the restart there are %d messages", sel.NumMessages)
	}
	must(c.Unselect().Wait())
	must(c.Delete("Über").Wait())
	must(c.Logout().Wait())
}

func wantTold(t *testing.T, told <-chan uint32, want uint32) {
	t.Helper()
	select {
	case n := <-told:
		if n != want {
			t.Errorf("told of %d, want %d", n, want)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("not told of %d", want)
	}
}
