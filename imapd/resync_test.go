package imapd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/imapd/resynctest"
)

// TestResync plays clients that go away and come back after random changes by others, and
// compares what they remember with the truth each time. What others have not touched must
// not be told again.
func TestResync(t *testing.T) {
	rounds, random := resynctest.Play(t, 1500, 300)
	newResyncWorld(t, random).play(rounds)
}

// A resyncWorld is a mailbox with clients under test and with others who change it.
type resyncWorld struct {
	*fixture
	rand    *rand.Rand
	clients []*resynctest.Client
	touched []map[uint32]bool // for each client, since it was last up to date
	exact   []bool            // whether the store has known all expunges since
	others  []*client
}

func newResyncWorld(t *testing.T, random *rand.Rand) *resyncWorld {
	w := &resyncWorld{fixture: newFixture(t), rand: random}
	if err := w.user.Create(context.Background(), "other"); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		w.add("INBOX", simple)
	}
	for _, qresync := range []bool{true, true, false} {
		w.clients = append(w.clients, &resynctest.Client{Dial: func() (net.Conn, error) { return net.Dial("tcp", w.addr) },
			User: "alice", Password: "secret", Mailbox: "INBOX", Qresync: qresync, Rand: w.rand})
		w.touched = append(w.touched, map[uint32]bool{})
		w.exact = append(w.exact, true)
	}
	for range 2 {
		c := w.selected("INBOX")
		c.nc.SetDeadline(time.Now().Add(10 * time.Minute))
		w.others = append(w.others, c)
	}
	return w
}

// play lets a round be one of: changes by others, a step of a client, a client that comes back
// and is looked at.
func (w *resyncWorld) play(rounds int) {
	for n := range rounds {
		if w.user.forgetful.Store(w.rand.IntN(8) == 0); w.user.forgetful.Load() {
			for i := range w.exact {
				w.exact[i] = false
			}
		}
		for range w.rand.IntN(4) {
			w.change()
		}
		for i, c := range w.clients {
			if w.rand.IntN(3) == 0 {
				continue // it stays away, or says nothing
			}
			if err := w.round(i, c); err != nil {
				w.t.Fatalf("round %d: %v", n, err)
			}
		}
	}
	total := 0
	for _, c := range w.clients {
		c.Cut()
		total += c.Resyncs
	}
	w.t.Logf("%d rounds, %d resynchronisations", rounds, total)
}

// round is what one client does.
func (w *resyncWorld) round(i int, c *resynctest.Client) error {
	if !c.Connected() {
		if err := w.comeBack(i, c); err != nil {
			return err
		}
	}
	for range w.rand.IntN(4) {
		// Its own changes are changes for the others, and for itself if it breaks off.
		before := w.uids()
		modseq := w.highest()
		if err := ignoreLost(c.Step()); err != nil {
			return err
		}
		w.ended()
		w.touchSince(modseq, before)
		if !c.Connected() {
			return nil
		}
		if w.rand.IntN(2) == 0 {
			w.change()
		}
	}
	if w.rand.IntN(3) == 0 {
		if err := c.Idle(func() error { w.change(); return nil }); err != nil {
			return err
		}
	}
	if err := c.Settle(); err != nil {
		return err
	}
	if err := w.verify(i, c); err != nil {
		return err
	}
	if w.rand.IntN(2) == 0 {
		c.Cut()
	}
	return nil
}

// comeBack lets a client resynchronise, and looks at what it was told.
func (w *resyncWorld) comeBack(i int, c *resynctest.Client) error {
	if err := c.Resync(); err != nil {
		return err
	}
	for _, uid := range c.Retold {
		if !w.touched[i][uid] {
			return fmt.Errorf("UID %d was told of and had not changed: %v", uid, c.Fault("here"))
		}
	}
	for _, uid := range c.Vanished {
		if !w.touched[i][uid] && w.exact[i] {
			return fmt.Errorf("UID %d had not vanished since: %v", uid, c.Fault("here"))
		}
	}
	return w.verify(i, c)
}

// verify compares with the truth. The client is up to date then, and knows that it is.
func (w *resyncWorld) verify(i int, c *resynctest.Client) error {
	validity, truth, err := c.Truth()
	if err != nil {
		return err
	}
	if err := c.Verify(validity, truth); err != nil {
		return err
	}
	if highest := w.highest(); c.Qresync && c.ModSeq() != highest || c.ModSeq() > highest {
		return c.Fault("HIGHESTMODSEQ is %d", highest)
	}
	w.touched[i], w.exact[i] = map[uint32]bool{}, !w.user.forgetful.Load()
	return nil
}

// ended waits until the sessions of connections that were cut have done what they were at.
func (w *resyncWorld) ended() {
	want := len(w.others)
	for _, c := range w.clients {
		if c.Connected() {
			want++
		}
	}
	for {
		w.metrics.mu.Lock()
		open := w.metrics.open
		w.metrics.mu.Unlock()
		if open == want {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
}

func ignoreLost(err error) error {
	if errors.Is(err, resynctest.ErrLost) {
		return nil
	}
	return err
}

func (w *resyncWorld) highest() uint64 {
	b, err := w.user.Open(context.Background(), "INBOX", true)
	if err != nil {
		w.t.Fatal(err)
	}
	return uint64(b.View().HighestModSeq)
}

func (w *resyncWorld) uids() []uint32 {
	b, err := w.user.Open(context.Background(), "INBOX", true)
	if err != nil {
		w.t.Fatal(err)
	}
	var uids []uint32
	for _, msg := range b.View().All() {
		uids = append(uids, uint32(msg.UID))
	}
	return uids
}

// touchSince notes what has changed since a modseq, of which there were these messages before.
func (w *resyncWorld) touchSince(modseq uint64, before []uint32) {
	b, err := w.user.Open(context.Background(), "INBOX", true)
	if err != nil {
		w.t.Fatal(err)
	}
	v := b.View()
	var changed []uint32
	for _, uid := range before {
		if !slices.Contains(w.uids(), uid) {
			changed = append(changed, uid)
		}
	}
	for _, msg := range v.All() {
		if uint64(msg.ModSeq) > modseq {
			changed = append(changed, uint32(msg.UID))
		}
	}
	for _, m := range w.touched {
		for _, uid := range changed {
			m[uid] = true
		}
	}
}

// change is something that another session does.
func (w *resyncWorld) change() {
	before, modseq := w.uids(), w.highest()
	defer func() { w.touchSince(modseq, before) }()
	c := w.others[w.rand.IntN(len(w.others))]
	set := "1:*"
	if len(before) > 0 {
		var some []string
		for _, uid := range before {
			if w.rand.IntN(3) == 0 {
				some = append(some, strconv.Itoa(int(uid)))
			}
		}
		set = cmp.Or(strings.Join(some, ","), "1")
	}
	var commands []string
	switch n := w.rand.IntN(12); {
	case n == 0 && len(before) > 2:
		commands = []string{"UID STORE " + set + ` +FLAGS.SILENT (\Deleted)`, "EXPUNGE"}
	case n == 1 && len(before) > 2:
		commands = []string{"UID MOVE " + set + " other"}
	case n == 2 && len(before) < 40:
		commands = []string{"UID COPY " + set + " INBOX"}
	case n <= 4 && len(before) < 40:
		w.add("INBOX", simple, strings.Fields(resynctest.RandomFlags(w.rand.IntN))...)
	case n == 5:
		commands = []string{"UID STORE " + set + ` +FLAGS ($a)`, "UID STORE " + set + ` -FLAGS ($a)`}
	default:
		op := []string{"", "+", "-"}[w.rand.IntN(3)]
		commands = []string{"UID STORE " + set + " " + op + "FLAGS.SILENT (" + resynctest.RandomFlags(w.rand.IntN) + ")"}
	}
	for _, cmd := range commands {
		c.send("x " + cmd)
		c.until("x ")
	}
}
