package maildir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// A modelClient remembers what a QRESYNC client does.
type modelClient struct {
	validity uint32
	since    mailbox.ModSeq
	picture  map[mailbox.UID]string
	step     int  // of the model when it last asked
	lost     bool // the index was lost since
}

// A modseqModel changes a mailbox in all ways at random, and has clients that must always
// find out what has changed since they last asked.
type modseqModel struct {
	*testing.T
	r    *rand.Rand
	l    Location
	h    *Hierarchy
	m    *Mailbox
	step int
	// When a message was last changed, and when it went away.
	changed map[string]int // by base name
	gone    map[mailbox.UID]int
	bases   map[mailbox.UID]string
	told    map[mailbox.UID]map[mailbox.ModSeq]string
	highest mailbox.ModSeq // told
	clients []*modelClient
	full    bool          // the index cannot be written
	back    time.Duration // how far the clock has been put back
	removed []string      // base names
	counts  map[string]int
}

func newModel(t *testing.T, seed uint64) *modseqModel {
	m := &modseqModel{T: t, r: rand.New(rand.NewPCG(seed, 1)), l: newLocation(t), changed: map[string]int{},
		gone: map[mailbox.UID]int{}, bases: map[mailbox.UID]string{}, told: map[mailbox.UID]map[mailbox.ModSeq]string{}, counts: map[string]int{}}
	m.open()
	for range 3 {
		m.clients = append(m.clients, &modelClient{})
	}
	return m
}

func (m *modseqModel) open() {
	h, err := Open(m.l, Options{Host: "test", LockWait: time.Millisecond})
	if err != nil {
		m.Fatal(err)
	}
	h.cache.Delay = time.Hour // written when the model says so
	h.cache.Now = func() time.Time { return time.Now().Add(-m.back) }
	write := h.cache.Write
	h.cache.Write = func(commit func() error) error {
		if m.full {
			return unix.ENOSPC
		}
		return write(commit)
	}
	if m.m, err = h.OpenMailbox(m.Context(), "INBOX"); err != nil {
		m.Fatal(err)
	}
	m.h = h
}

func (m *modseqModel) close() {
	m.m.Close()
	if err := m.h.Close(); err != nil && !m.full {
		m.Fatal(err)
	}
}

func (m *modseqModel) indexPath() string { return filepath.Join(m.l.Root, index.FileName) }

// kill leaves the tree as a SIGKILL at this moment does.
func (m *modseqModel) kill() {
	image := []byte(readFile(m, m.indexPath()))
	m.h.faults = nil
	m.h.index.Close() // may still write
	m.close()
	put(m, m.indexPath(), string(image))
	removeLocks(m.T, m.l.Root)
}

// files are the messages as they lie there: the flag letters by base name.
func (m *modseqModel) files() map[string]string {
	found := map[string]string{}
	for _, dir := range dirNames {
		for _, name := range names(m, filepath.Join(m.l.Root, dir)) {
			base, suffix, _ := strings.Cut(name, ":")
			_, letters, _ := splitFlags(":" + suffix)
			found[base] = letters
		}
	}
	return found
}

// somePath is a message's file.
func (m *modseqModel) somePath() (path, base, letters string) {
	var all []string
	for _, dir := range dirNames {
		for _, name := range names(m, filepath.Join(m.l.Root, dir)) {
			all = append(all, filepath.Join(m.l.Root, dir, name))
		}
	}
	if len(all) == 0 {
		return "", "", ""
	}
	path = all[m.r.IntN(len(all))]
	base, suffix, _ := strings.Cut(filepath.Base(path), ":")
	_, letters, _ = splitFlags(":" + suffix)
	return path, base, letters
}

// foreign is what another program does.
func (m *modseqModel) foreign() {
	m.counts["foreign"]++
	path, base, letters := m.somePath()
	rename := func(letters string) {
		to := filepath.Join(m.l.Root, "cur", base+":2,"+letters)
		mustRename(m, path, to)
		path = to
		m.changed[base] = m.step
	}
	switch n := m.r.IntN(10); {
	case path == "" || n < 2:
		name := fmt.Sprintf("%d.M%dP9.other", m.step, m.r.Int32())
		put(m, filepath.Join(m.l.Root, "new", name), "x")
		m.changed[name] = m.step
		if m.r.IntN(3) == 0 {
			m.list(name)
		}
	case n < 4:
		mustRemove(m, path)
		m.changed[base] = m.step
		m.removed = append(m.removed, base)
		if n == 3 {
			m.look()
		}
		if m.r.IntN(3) == 0 { // and back from a backup
			base = m.removed[m.r.IntN(len(m.removed))]
			if _, ok := m.files()[base]; !ok {
				put(m, filepath.Join(m.l.Root, "cur", base+":2,"+letters), "x")
				m.changed[base] = m.step
			}
		}
	case n == 4: // there and back between two looks, or not
		rename(toggle(letters, "F"))
		if m.r.IntN(2) == 0 {
			m.look()
		}
		rename(letters)
	case n == 5:
		rename(letters) // new to cur
	default:
		rename(toggle(letters, string("DFRSTab"[m.r.IntN(7)])))
	}
}

// list gives a file a UID as Dovecot does.
func (m *modseqModel) list(base string) {
	path := filepath.Join(m.l.Root, uidlistName)
	p, err := parseUIDList(strings.NewReader(readFile(m, path)))
	if err != nil || p.damage != nil {
		m.Fatal(err, p.damage)
	}
	next := p.next
	if n := len(p.records); n > 0 {
		next = max(next, p.records[n-1].uid+1)
	}
	put(m, path, readFile(m, path)+fmt.Sprintf("%d :%s\n", next, base))
}

func toggle(letters, letter string) string {
	all := strings.Split(letters, "")
	if i := slices.Index(all, letter); i >= 0 {
		return strings.Join(slices.Delete(all, i, i+1), "")
	}
	all = append(all, letter)
	slices.Sort(all)
	return strings.Join(all, "")
}

// look is a forced sync; it finds all that other programs did.
func (m *modseqModel) look() *mailbox.View {
	v, err := m.m.b.sync(context.Background(), true)
	if err != nil {
		m.Fatalf("step %d: sync: %v", m.step, err)
	}
	return v
}

func (m *modseqModel) someUIDs() (uids []mailbox.UID) {
	v := m.m.View()
	for range m.r.IntN(3) + 1 {
		if v.Len() > 0 {
			uids = append(uids, v.At(m.r.IntN(v.Len())).UID)
		}
	}
	return uids
}

// own is what we do.
func (m *modseqModel) own() error {
	ctx := context.Background()
	switch n := m.r.IntN(20); {
	case n < 3:
		info := mailbox.SaveInfo{NeedUID: m.r.IntN(2) == 0}
		if m.r.IntN(2) == 0 {
			info.Flags = flags(`\Seen`)
		}
		_, err := trySave(m.m, "x", info)
		return err
	case n < 6:
		return m.m.Expunge(ctx, m.someUIDs())
	case n == 6:
		_, err := m.m.ClaimRecent(ctx)
		return err
	case n == 7:
		if uids := m.someUIDs(); len(uids) > 0 {
			size := int64(m.r.IntN(100))
			err := m.m.RecordSizes(ctx, uids[0], mailbox.Sizes{Physical: size, Virtual: size})
			if errors.Is(err, mailbox.ErrNotFound) {
				return nil
			}
			return err
		}
		return nil
	case n == 8:
		_, err := m.m.Sync(ctx)
		return err
	}
	change := mailbox.FlagChange{Op: mailbox.FlagOp(m.r.IntN(3))}
	change.Flags.System = mailbox.SystemFlags(1 << m.r.IntN(5))
	if m.r.IntN(4) == 0 {
		change.Flags.Keywords = []string{fmt.Sprint("k", m.r.IntN(3))}
	}
	if m.r.IntN(4) == 0 {
		since := m.clients[0].since
		change.UnchangedSince = &since
	}
	_, err := m.m.SetFlags(ctx, m.someUIDs(), change)
	return err
}

// doOwn does something, and notes what it changed.
func (m *modseqModel) doOwn() {
	before := m.files()
	if err := m.own(); err != nil && !m.full {
		m.Fatalf("step %d: %v", m.step, err)
	}
	m.compare(before)
}

func (m *modseqModel) compare(before map[string]string) {
	after := m.files()
	for base, letters := range before {
		if now, ok := after[base]; !ok || now != letters {
			m.changed[base] = m.step
		}
	}
	for base := range after {
		if _, ok := before[base]; !ok {
			m.changed[base] = m.step
		}
	}
}

// crash does something that a kill stops at some step.
func (m *modseqModel) crash() {
	m.counts["crash"]++
	before := m.files()
	m.h.faults = durable.FaultAt(m.r.IntN(12)+1, durable.Crash, unix.EIO)
	for range 2 {
		_ = m.own()
		if m.r.IntN(2) == 0 {
			_ = m.m.SyncModSeqs(context.Background())
		}
	}
	m.kill()
	m.compare(before)
	m.reopen()
}

// reopen opens the mailbox again, perhaps after others have used it.
func (m *modseqModel) reopen() {
	for range m.r.IntN(3) {
		m.foreign2()
	}
	m.open()
}

// foreign2 is foreign for a time when nobody of us looks.
func (m *modseqModel) foreign2() {
	path, base, letters := m.somePath()
	switch {
	case path == "":
	case m.r.IntN(3) == 0:
		mustRemove(m, path)
		m.changed[base] = m.step
	default:
		mustRename(m, path, filepath.Join(m.l.Root, "cur", base+":2,"+toggle(letters, "R")))
		m.changed[base] = m.step
	}
}

// ask is a client that comes back.
func (m *modseqModel) ask(c *modelClient) {
	v := m.look()
	if err := m.m.SyncModSeqs(context.Background()); err != nil {
		if !m.full {
			m.Fatalf("step %d: SyncModSeqs: %v", m.step, err)
		}
		m.counts["nothing told"]++
		return
	}
	m.check(v)
	if c.validity != v.UIDValidity {
		*c = modelClient{validity: v.UIDValidity, picture: map[mailbox.UID]string{}, lost: true}
	}
	gone, complete, err := m.m.Expunged(context.Background(), c.since)
	if err != nil {
		m.Fatal(err)
	}
	exact := !c.lost
	if exact && !complete {
		m.Errorf("step %d: incomplete since %d", m.step, c.since)
	}
	for _, uid := range gone {
		if v.Get(uid) != nil {
			m.Errorf("step %d: UID %d is there and was expunged", m.step, uid)
		}
		if exact && m.changed[m.bases[uid]] <= c.step && m.bases[uid] != "" {
			m.Errorf("step %d: UID %d expunged before the client asked at step %d", m.step, uid, c.step)
		}
		delete(c.picture, uid)
	}
	if !complete {
		m.counts["incomplete"]++
		maps.DeleteFunc(c.picture, func(uid mailbox.UID, _ string) bool { return uid < v.UIDNext && v.Get(uid) == nil })
	}
	for _, msg := range v.All() {
		if msg.ModSeq <= c.since {
			continue
		}
		m.counts["reported"]++
		if exact && m.changed[msg.GUID] <= c.step {
			m.Errorf("step %d: UID %d reported, but was not changed since step %d", m.step, msg.UID, c.step)
		}
		c.picture[msg.UID] = pictureLine(msg)
	}
	if want := pictureOf(v); !maps.Equal(c.picture, want) {
		m.Errorf("step %d: client since %d has\n%v, want\n%v", m.step, c.since, c.picture, want)
	}
	c.since, c.step, c.lost = v.HighestModSeq, m.step, false
	m.counts["asked"]++
}

// hear tells a client of UIDs in its session, without flags and modseqs.
func (m *modseqModel) hear(c *modelClient) {
	v := m.look()
	m.counts["heard"]++
	for _, msg := range v.All() {
		if _, ok := c.picture[msg.UID]; !ok && c.validity == v.UIDValidity {
			c.picture[msg.UID] = "flags not asked for"
		}
		m.bases[msg.UID] = msg.GUID
	}
}

func pictureOf(v *mailbox.View) map[mailbox.UID]string {
	p := map[mailbox.UID]string{}
	for _, msg := range v.All() {
		p[msg.UID] = pictureLine(msg)
	}
	return p
}

func pictureLine(m *mailbox.Message) string {
	return strings.Join(withoutRecent(m.Flags).Names(), " ")
}

// check holds a view against the files and what was told before.
func (m *modseqModel) check(v *mailbox.View) {
	files := m.files()
	if len(files) != v.Len() {
		m.Errorf("step %d: %d messages, %d files", m.step, v.Len(), len(files))
	}
	if v.HighestModSeq < m.highest {
		m.Errorf("step %d: HighestModSeq %d, told was %d", m.step, v.HighestModSeq, m.highest)
	}
	m.highest = v.HighestModSeq
	for _, msg := range v.All() {
		m.bases[msg.UID] = msg.GUID
		letters, ok := files[msg.GUID]
		if !ok || systemOf(letters) != withoutRecent(msg.Flags).System {
			m.Errorf("step %d: UID %d is %v, its file %q", m.step, msg.UID, msg.Flags, letters)
		}
		if msg.ModSeq == 0 || msg.ModSeq > v.HighestModSeq {
			m.Errorf("step %d: UID %d has modseq %d, highest %d", m.step, msg.UID, msg.ModSeq, v.HighestModSeq)
		}
		if m.told[msg.UID] == nil {
			m.told[msg.UID] = map[mailbox.ModSeq]string{}
		}
		now := pictureLine(msg)
		if was, ok := m.told[msg.UID][msg.ModSeq]; ok && was != now {
			m.Errorf("step %d: UID %d was %q and is %q under modseq %d", m.step, msg.UID, was, now, msg.ModSeq)
		}
		m.told[msg.UID][msg.ModSeq] = now
	}
}

// lose loses the index in one of the ways that happen.
func (m *modseqModel) lose() {
	m.counts["lost"]++
	switch m.r.IntN(3) {
	case 0:
		mustRemove(m, m.indexPath())
	case 1:
		put(m, m.indexPath(), "garbage")
	case 2:
		if err := os.Truncate(m.indexPath(), 8192); err != nil {
			m.Fatal(err)
		}
	}
	for _, c := range m.clients {
		c.lost = true
	}
}

func (m *modseqModel) run(rounds int) {
	for m.step = 1; m.step <= rounds && !m.Failed(); m.step++ {
		switch n := m.r.IntN(100); {
		case n < 35:
			m.doOwn()
		case n < 55:
			m.foreign()
		case n < 70:
			m.ask(m.clients[m.r.IntN(len(m.clients))])
		case n < 73:
			m.hear(m.clients[m.r.IntN(len(m.clients))])
		case n < 74:
			m.back = time.Duration(m.r.IntN(3)) * time.Hour
		case n < 76: // told without being asked
			v := m.look()
			if m.m.SyncModSeqs(context.Background()) == nil {
				m.check(v)
			}
		case n < 80:
			if err := m.h.index.Flush(); err != nil && !m.full {
				m.Fatal(err)
			}
		case n < 81:
			m.full = true
		case n < 84:
			m.full = false
		case n < 85:
			m.counts["closed"]++
			m.close()
			m.reopen()
		case n < 88: // only the mailbox
			m.m.Close()
			var err error
			if m.m, err = m.h.OpenMailbox(context.Background(), "INBOX"); err != nil {
				m.Fatal(err)
			}
		case n < 94:
			m.counts["killed"]++
			m.kill()
			m.reopen()
		case n < 99:
			m.crash()
		case m.r.IntN(3) == 0:
			m.close()
			m.lose()
			m.back = 0 // both at once is too much
			m.reopen()
		}
	}
	m.full = false
	for _, c := range m.clients {
		m.ask(c)
	}
	m.close()
}

// TestModSeqModel is the rule of RFC 7162 under everything that happens to a Maildir: a
// client that asks for what has changed since the modseq that it was told last, and for what
// was expunged, has the truth after that. And it is told nothing that did not change.
func TestModSeqModel(t *testing.T) {
	inMemory(t)
	counts := map[string]int{}
	for seed := range uint64(8) {
		m := newModel(t, seed)
		m.run(700)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for k, n := range m.counts {
			counts[k] += n
		}
	}
	t.Log(counts)
	for _, what := range []string{"asked", "reported", "foreign", "nothing told", "closed", "killed", "crash", "lost"} {
		if counts[what] == 0 {
			t.Errorf("%s never happened", what)
		}
	}
}
