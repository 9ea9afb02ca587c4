package mdbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// A history is what was done to a store, and of what is known whether it was.
type history struct {
	t     *testing.T
	h     *Hierarchy
	known map[string]string // text of a message => "there", "gone" or "either", with its mailbox before it
	guids map[string]mailbox.GUID
	err   error // of the step that failed
}

// text makes messages that tell each other apart; some are large.
func (s *history) text(n int) string {
	size := 10
	if n%4 == 3 {
		size = 1 << 20
	}
	return fmt.Sprintf("Subject: %d\n\n%s\n", n, strings.Repeat("x", size))
}

// note says what became of messages that were to be there, or gone, afterwards.
func (s *history) note(err error, box, want string, texts ...string) {
	if err != nil {
		want, s.err = "either", err
	}
	for _, text := range texts {
		s.known[box+"\n"+text] = want
	}
}

func (s *history) open(name string) *Mailbox {
	m, err := s.h.OpenMailbox(context.Background(), name)
	if err != nil {
		s.err = err
		return nil
	}
	if g, ok := s.guids[name]; ok && g != m.GUID() {
		s.t.Errorf("%s has GUID %s, had %s", name, m.GUID(), g)
	}
	s.guids[name] = m.GUID()
	return m
}

// run does a bit of everything, whatever fails.
func (s *history) run() {
	ctx := context.Background()
	if in := s.open("INBOX"); in != nil {
		defer in.Close()
		for n := range 4 {
			_, err := trySave(in, s.text(n), mailbox.SaveInfo{})
			s.note(err, "INBOX", "there", s.text(n))
		}
		s.group(in)
		if err := s.h.Create(ctx, "A/B"); err != nil {
			s.err = err
		} else {
			s.copy(in)
		}
		if v, err := in.Sync(ctx); err == nil && v.Len() > 0 {
			text, terr := readText(in, v.At(0).UID)
			err := in.Expunge(ctx, []mailbox.UID{v.At(0).UID})
			if terr == nil {
				s.note(err, "INBOX", "gone", text)
			}
			_, _ = in.SetFlags(ctx, []mailbox.UID{v.At(v.Len() - 1).UID}, mailbox.FlagChange{Flags: mailbox.Flags{System: mailbox.Seen}})
			if err := in.SyncModSeqs(ctx); err != nil {
				s.err = err
			}
		}
	}
	if err := s.h.Subscribe(ctx, "A/B", true); err != nil {
		s.err = err
	}
	if err := s.h.Rename(ctx, "A", "C"); err != nil && s.err == nil {
		s.err = err
	}
	err := s.h.Create(ctx, "D")
	if err == nil {
		err = s.h.Delete(ctx, "D")
	}
	if err != nil {
		s.err = err
	}
}

// group saves two messages as one.
func (s *history) group(in *Mailbox) {
	var pending []mailbox.Pending
	var sizes []mailbox.Sizes
	for n := 10; n < 12; n++ {
		p, err := in.Create(context.Background(), mailbox.SaveInfo{})
		if err == nil {
			_, err = p.Write([]byte(s.text(n)))
			pending, sizes = append(pending, p), append(sizes, sizesOf(s.text(n)))
		}
		if err != nil {
			s.err = err
			for _, p := range pending {
				p.Abort()
			}
			return
		}
	}
	_, err := in.CommitAll(context.Background(), pending, sizes)
	s.note(err, "INBOX", "there", s.text(10), s.text(11))
}

func (s *history) copy(in *Mailbox) {
	to := s.open("A/B")
	if to == nil {
		return
	}
	defer to.Close()
	v, err := in.Sync(context.Background())
	if err != nil || v.Len() == 0 {
		return
	}
	msg, err := in.Stat(context.Background(), v.At(0).UID)
	if err != nil {
		return
	}
	text, err := readText(in, msg.UID)
	if err != nil {
		return
	}
	_, err = to.Link(context.Background(), in, msg.UID, mailbox.SaveInfo{Received: msg.Received, GUID: msg.GUID})
	s.note(err, "A/B", "there", text)
}

// check compares a store that was opened again with what is known. The mailbox A/B may be
// C/B by now.
func (s *history) check(h *Hierarchy) {
	t, ctx := s.t, context.Background()
	found := map[string]int{}
	list, err := h.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if !f.Selectable {
			continue
		}
		m := openBox(t, h, f.Name)
		name := strings.Replace(f.Name, "C/B", "A/B", 1)
		if g, ok := s.guids[name]; ok && g != m.GUID() {
			t.Errorf("%s has GUID %s, had %s", f.Name, m.GUID(), g)
		}
		for _, msg := range m.View().All() {
			text, err := readText(m, msg.UID)
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
			found[name+"\n"+text]++
		}
	}
	for what, n := range found {
		if s.known[what] == "" || n > 1 {
			t.Errorf("%d messages that were not saved so: %.40q", n, what)
		}
	}
	for what, want := range s.known {
		if n := found[what]; want == "there" && n != 1 || want == "gone" && n != 0 {
			t.Errorf("%d messages of %.40q, which must be %s", n, what, want)
		}
	}
	if a, b := found["INBOX\n"+s.text(10)], found["INBOX\n"+s.text(11)]; a != b {
		t.Errorf("of a group one message is there: %d, %d", a, b)
	}
	checkStore(t, h)
	mustSave(t, openBox(t, h, "INBOX"), "the store goes on")
	checkStore(t, h)
}

// attempt lives through a history with a fault at a step, and looks at what is left of it. It
// returns the steps.
func attempt(t *testing.T, n int, kind durable.Kind) []durable.Step {
	faults := durable.FaultAt(n, kind, nil)
	ids := &memoryIdentities{}
	l := newLocation(t)
	s := &history{t: t, known: map[string]string{}, guids: map[string]mailbox.GUID{}}
	h, err := Open(t.Context(), l, Options{Faults: faults, Identities: ids, Host: "test"})
	if err == nil {
		s.h = h
		s.run()
		h.Close() // which writes nothing after a crash
	}
	switch {
	case !faults.Hit():
		if err := errors.Join(err, s.err); err != nil {
			t.Errorf("without a fault: %v", err)
		}
	case kind == durable.Fail && s.err != nil && !errors.Is(s.err, durable.ErrFault):
		t.Errorf("step %d: %v", n, s.err)
	}
	h, err = Open(t.Context(), l, Options{Identities: ids, Host: "test"})
	if err != nil {
		t.Fatalf("step %d: opening again: %v", n, err)
	}
	s.check(h)
	if got, _ := ids.Load(t.Context()); len(got) == 0 {
		t.Errorf("step %d: no identities", n)
	}
	if err := h.Close(); err != nil {
		t.Errorf("step %d: closing: %v", n, err)
	}
	return faults.Steps()
}

// Whatever step fails, and wherever the machine stops: what was acknowledged holds.
func TestFaults(t *testing.T) {
	inMemory(t)
	steps := attempt(t, 0, durable.Fail)
	if len(steps) < 30 {
		t.Errorf("only %d steps", len(steps))
	}
	for kind, name := range map[durable.Kind]string{durable.Fail: "fail", durable.Short: "short", durable.Crash: "crash", durable.PowerCut: "power cut"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, step := range steps {
				if kind == durable.Short && step.Op != durable.OpWrite || testing.Short() && i%3 != int(kind)%3 {
					continue
				}
				attempt(t, i+1, kind)
				if t.Failed() {
					t.Fatalf("step %d was %v", i+1, step)
				}
			}
		})
	}
}
