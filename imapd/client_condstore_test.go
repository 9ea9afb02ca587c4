package imapd

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// TestImapclientCondstore: an independent client's use of CONDSTORE.
func TestImapclientCondstore(t *testing.T) {
	f := threeMessages(t)
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	c := imapclient.New(nc, nil)
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Login("alice", "secret").Wait())
	caps, err := c.Capability().Wait()
	must(err)
	if !caps.Has(imap.CapCondStore) || !caps.Has(imap.CapQResync) {
		t.Errorf("capabilities %v", caps)
	}
	sel, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	must(err)
	if sel.HighestModSeq != 4 {
		t.Errorf("SELECT tells HIGHESTMODSEQ %d", sel.HighestModSeq)
	}
	msgs, err := c.Store(imap.UIDSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagSeen}},
		&imap.StoreOptions{UnchangedSince: 2}).Collect()
	must(err)
	if len(msgs) != 1 || msgs[0].UID != 1 || msgs[0].ModSeq != 5 {
		t.Errorf("conditional STORE: %+v", msgs)
	}
	msgs, err = c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{Flags: true, ChangedSince: 3}).Collect()
	must(err)
	var got []string
	for _, m := range msgs {
		got = append(got, fmt.Sprint(m.UID, m.ModSeq))
	}
	if want := []string{"1 5", "3 4"}; !slices.Equal(got, want) {
		t.Errorf("CHANGEDSINCE: %q, want %q", got, want)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{ModSeq: &imap.SearchCriteriaModSeq{ModSeq: 4,
		MetadataName: `/flags/\draft`, MetadataType: imap.SearchCriteriaMetadataAll}}, nil).Wait()
	must(err)
	if found.ModSeq != 5 || !slices.Equal(found.AllUIDs(), []imap.UID{1, 3}) {
		t.Errorf("SEARCH: %+v", found)
	}
	status, err := c.Status("INBOX", &imap.StatusOptions{HighestModSeq: true}).Wait()
	must(err)
	if status.HighestModSeq != 5 {
		t.Errorf("STATUS: %+v", status)
	}
	must(c.Logout().Wait())
}
