package mdbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/index"
	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox/mfile"
)

// heldIdentities are Identities in memory.
type heldIdentities struct {
	mu    sync.Mutex
	names map[string]Identity
}

func (h *heldIdentities) Load(context.Context) (map[string]Identity, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.names), nil
}

func (h *heldIdentities) Change(_ context.Context, set map[string]Identity, remove []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range remove {
		delete(h.names, name)
	}
	maps.Copy(h.names, set)
	return nil
}

// A resyncStore is a store that is broken and rebuilt.
type resyncStore struct {
	t   *testing.T
	loc Location
	o   Options
	ids *heldIdentities
}

var resyncTime = time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)

// newResyncStore has three mailboxes with copies, expunged messages and keywords.
func newResyncStore(t *testing.T) *resyncStore {
	t.Helper()
	s := &resyncStore{t: t, ids: &heldIdentities{names: map[string]Identity{}}}
	s.loc = Location{Root: filepath.Join(t.TempDir(), "mdbox"), Alt: t.TempDir()}
	s.o = Options{Host: "test", Identities: s.ids, RotateSize: 2500}
	h := s.open()
	defer h.Close()
	for _, name := range []string{"Work/Zwölf", "Empty"} {
		if err := h.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		rsSave(t, h, "INBOX", fmt.Sprintf("%d %s", i, strings.Repeat("x", i*70)), fmt.Sprintf("%032x", i+1))
		rsSave(t, h, "Work/Zwölf", fmt.Sprint("work ", i), fmt.Sprintf("%032x", i+101))
	}
	in, work := rsOpen(t, h, "INBOX"), rsOpen(t, h, "Work/Zwölf")
	defer in.Close()
	defer work.Close()
	for _, uid := range []mailbox.UID{1, 5, 12} {
		m, err := in.Stat(t.Context(), uid)
		if err == nil {
			_, err = work.Link(t.Context(), in, uid, mailbox.SaveInfo{GUID: m.GUID, Received: m.Received, NeedUID: true})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for m, uids := range map[*Mailbox][]mailbox.UID{in: {1, 2, 3}, work: {4}} {
		if err := m.Expunge(t.Context(), uids); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *resyncStore) open() *Hierarchy {
	s.t.Helper()
	h, err := Open(s.t.Context(), s.loc, s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func rsOpen(t *testing.T, h *Hierarchy, name string) *Mailbox {
	t.Helper()
	m, err := h.OpenMailbox(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rsSave(t *testing.T, h *Hierarchy, name, text, guid string) {
	t.Helper()
	m := rsOpen(t, h, name)
	defer m.Close()
	p, err := m.Create(t.Context(), mailbox.SaveInfo{Received: resyncTime, GUID: guid, NeedUID: true,
		Flags: mailbox.Flags{System: mailbox.Seen, Keywords: []string{"k" + guid[30:]}}})
	if err == nil {
		if _, err = p.Write([]byte(text)); err == nil {
			_, err = p.Commit(mailbox.Sizes{Physical: int64(len(text)), Virtual: int64(len(text)), Stored: int64(len(text))})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A rsBox is all that is to be seen of a mailbox.
type rsBox struct {
	guid     mailbox.GUID
	validity uint32
	next     mailbox.UID
	lines    []string
	texts    []string // sorted
}

// show reads everything.
func (s *resyncStore) show() map[string]rsBox {
	s.t.Helper()
	h := s.open()
	defer h.Close()
	boxes := map[string]rsBox{}
	for name := range s.ids.names {
		name, ok := h.names().Decode(name)
		if !ok {
			s.t.Fatalf("name %q", name)
		}
		m := rsOpen(s.t, h, name)
		v, err := m.Sync(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		b := rsBox{guid: v.GUID, validity: v.UIDValidity, next: v.UIDNext}
		for _, msg := range v.All() {
			full, err := m.Stat(s.t.Context(), msg.UID)
			if err != nil {
				s.t.Fatal(err)
			}
			text := ""
			if st, err := m.Open(s.t.Context(), msg.UID); err != nil {
				text = "error"
			} else {
				buf := make([]byte, st.Size())
				st.ReadAt(buf, 0)
				st.Close()
				text = string(buf)
			}
			full.Flags.System &^= mailbox.Recent
			b.lines = append(b.lines, fmt.Sprintf("%d %v %d %s %d %d %d %s", full.UID, full.Flags, full.ModSeq, full.GUID,
				full.Received.Unix(), full.Saved.Unix(), full.Sizes.Virtual, text))
			b.texts = append(b.texts, text)
		}
		slices.Sort(b.texts)
		boxes[name] = b
		m.Close()
	}
	return boxes
}

func (s *resyncStore) resync(r ResyncOptions) *ResyncReport {
	s.t.Helper()
	report, err := Resync(s.t.Context(), s.loc, s.o, r)
	if err != nil {
		s.t.Fatal(err)
	}
	js, _ := json.Marshal(report)
	s.t.Logf("%s", js)
	return report
}

func (s *resyncStore) catalog() string {
	return filepath.Join(s.loc.Root, storageDir, index.CatalogName)
}

func (s *resyncStore) want(what string, got, want map[string]rsBox) {
	s.t.Helper()
	for name := range want {
		if g, w := got[name], want[name]; g.guid != w.guid || g.validity != w.validity || g.next != w.next || !slices.Equal(g.lines, w.lines) {
			s.t.Errorf("%s: %s is\n%v %d %d\n%s\nwant\n%v %d %d\n%s", what, name, g.guid, g.validity, g.next, strings.Join(g.lines, "\n"),
				w.guid, w.validity, w.next, strings.Join(w.lines, "\n"))
		}
	}
	if len(got) != len(want) {
		s.t.Errorf("%s: mailboxes %v, want %v", what, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// tree is a digest of all files of the store.
func (s *resyncStore) tree() string {
	s.t.Helper()
	sum := sha256.New()
	for _, root := range []string{s.loc.Root, s.loc.Alt} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				var b []byte
				b, err = os.ReadFile(path)
				fmt.Fprintf(sum, "%s %d %s\n", path, len(b), b)
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// Nothing changes where nothing is wrong, however often.
func TestResyncIntact(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	tree := s.tree()
	dry := s.resync(ResyncOptions{DryRun: true})
	if s.tree() != tree {
		t.Error("a dry run has changed files")
	}
	for range 2 {
		r := s.resync(ResyncOptions{})
		if !r.Whole() || r.Found != 24 || r.Kept != 23 || r.Expunged != 3 || r.Duplicates != 0 || len(r.Placed) != 0 || r.Mailboxes != 3 ||
			len(r.Created) != 0 || len(r.NewUIDValidity) != 0 || r.OldCatalog != "" || r.Found != dry.Found || r.Kept != dry.Kept {
			t.Errorf("%+v", r)
		}
		s.want("intact", s.show(), was)
	}
	h := s.open()
	if _, err := Resync(t.Context(), s.loc, s.o, ResyncOptions{}); !errors.Is(err, index.ErrCatalogBusy) {
		t.Errorf("of an open store: %v", err)
	}
	if done, err := h.Purge(t.Context()); err != nil || done.Expunged != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	rsSave(t, h, "INBOX", "goes on", fmt.Sprintf("%032x", 999))
	h.Close()
	r := s.resync(ResyncOptions{Restored: true})
	if len(r.NewUIDValidity) != 3 || r.Kept != 24 {
		t.Errorf("%+v", r)
	}
	for name, b := range s.show() {
		if b.validity == was[name].validity || b.guid != was[name].guid {
			t.Errorf("%s has GUID %v, UIDVALIDITY %d", name, b.guid, b.validity)
		}
	}
}

// TestResyncLostCatalog: GUIDs come from beside the keys, mailboxes of messages from their
// metadata.
func TestResyncLostCatalog(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	if err := os.Remove(s.catalog()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), s.loc, s.o); !errors.Is(err, ErrNoCatalog) {
		t.Errorf("opened without a catalog: %v", err)
	}
	r := s.resync(ResyncOptions{})
	if !r.NoCatalog || r.Found != 24 || r.Placed["INBOX"] != 12 || r.Placed["Work/Zwölf"] != 12 || len(r.Created) != 0 || len(r.NewUIDValidity) != 3 {
		t.Errorf("%+v", r)
	}
	got := s.show()
	for name := range was {
		if got[name].guid != was[name].guid || got[name].validity == was[name].validity {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if len(got["INBOX"].texts) != 12 || slices.Contains(got["INBOX"].texts, "error") || got["INBOX"].next != 13 || len(got) != 3 {
		t.Errorf("%+v", got)
	}
	// Without identities the directories tell which mailboxes there were.
	if err := os.Remove(s.catalog()); err != nil {
		t.Fatal(err)
	}
	clear(s.ids.names)
	if r = s.resync(ResyncOptions{}); len(r.Created) != 3 {
		t.Errorf("%+v", r)
	}
	if got := s.show(); len(got) != 3 || got["INBOX"].guid == was["INBOX"].guid || len(got["Work/Zwölf"].texts) != 12 {
		t.Errorf("%+v", got)
	}
}

// An older catalog: what it does not know is new, what has moved is found by its GUID.
func TestResyncOldCatalog(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	old, err := os.ReadFile(s.catalog())
	if err != nil {
		t.Fatal(err)
	}
	h := s.open()
	rsSave(t, h, "Empty", "later", fmt.Sprintf("%032x", 500))
	if _, err := h.Purge(t.Context()); err != nil { // everything moves
		t.Fatal(err)
	}
	if _, err := h.AltMove(t.Context(), true, func(string, mailbox.Message) bool { return true }); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := os.WriteFile(s.catalog(), old, 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.resync(ResyncOptions{})
	if r.Kept != 23 || r.Placed["Empty"] != 1 || len(r.Missing) != 0 {
		t.Errorf("%+v", r)
	}
	got := s.show()
	if !slices.Equal(got["Empty"].texts, []string{"later"}) {
		t.Errorf("%+v", got["Empty"])
	}
	delete(was, "Empty")
	delete(got, "Empty")
	s.want("old catalog", got, was)
}

// TestResyncDamagedFiles: what is behind damage is found, what is in it is told.
func TestResyncDamagedFiles(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	storage := filepath.Join(s.loc.Root, storageDir)
	change := func(name, old, new string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(storage, name))
		if err != nil || !strings.Contains(string(b), old) {
			t.Fatal(name, err)
		}
		if err := os.WriteFile(filepath.Join(storage, name), []byte(strings.Replace(string(b), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("m.1", "work 2\n\x01\x03", "work 2\nxx")                  // one message's trailer
	change("m.2", "2 M1e", "xxxxx")                                  // a file's header
	appendTo(t, filepath.Join(storage, "m.2"), "garbage at the end") //
	if err := os.Remove(filepath.Join(storage, "m.3")); err != nil { // a file
		t.Fatal(err)
	}
	r := s.resync(ResyncOptions{})
	lost := 0
	for _, n := range r.Missing {
		lost += n
	}
	if r.Whole() || len(r.Damaged) != 3 || lost == 0 || r.Kept != 23-lost || len(r.Placed) != 0 || r.OldCatalog == "" {
		t.Errorf("%+v", r)
	}
	got := s.show()
	n := 0
	for name, b := range got {
		n += len(b.lines)
		for _, line := range b.lines {
			if !slices.Contains(was[name].lines, line) || strings.HasSuffix(line, "error") {
				t.Errorf("%s has %q", name, line)
			}
		}
		if b.guid != was[name].guid || b.validity != was[name].validity || b.next != was[name].next {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if n != 23-lost {
		t.Errorf("%d messages, want %d", n, 23-lost)
	}
	// Nothing is appended behind garbage, and a purge keeps what nobody has understood.
	h := s.open()
	rsSave(t, h, "INBOX", "after", fmt.Sprintf("%032x", 501))
	if _, err := h.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if _, err := os.Stat(filepath.Join(storage, "m.1.broken")); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(storage, "m.2")); err != nil || !strings.HasSuffix(string(b), "garbage at the end") {
		t.Errorf("m.2 was touched: %v", err)
	}
}

// TestResyncTails: messages that a crash has left behind those that are known.
func TestResyncTails(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	d, err := mfile.Open(mfile.Options{Root: s.loc.Root, Host: "test", RotateSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	last := uint32(50)
	add := func(text, guid, folder string) {
		t.Helper()
		sp := d.Create()
		sp.Write([]byte(text))
		a, err := d.Append(t.Context(), func() uint32 { last++; return last }, []mfile.Message{{Spool: sp,
			Metadata: mfile.Metadata{Physical: -1, Virtual: -1, GUID: guid, Folder: folder}}})
		if err != nil {
			t.Fatal(err)
		}
		a.Commit()
	}
	add("work 0", fmt.Sprintf("%032x", 101), "Work/Zw&APY-lf") // as an interrupted purge
	add("work 0", fmt.Sprintf("%032x", 101), "Work/Zw&APY-lf")
	add("work 3", fmt.Sprintf("%032x", 104), "Work/Zw&APY-lf") // of which the other is expunged
	add("new", "not hexadecimal", "Gone/&-away")
	add("nowhere", strings.Repeat("g", 5000), "../../etc")
	add("no folder", "g3", "")
	// A file in both directories, with different messages.
	twin := filepath.Join(s.loc.Alt, storageDir, "m.1")
	if err := os.MkdirAll(filepath.Dir(twin), 0o700); err != nil {
		t.Fatal(err)
	}
	body := "2 M1e C1\n\x01\x02N          0000000000000004\ntwin\n\x01\x03\nBINBOX\nX0 1 - a/b\n\n"
	if err := os.WriteFile(twin, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	dry := s.resync(ResyncOptions{DryRun: true})
	r := s.resync(ResyncOptions{})
	if r.Duplicates != 3 || r.Placed["INBOX"] != 3 || r.Placed["Gone/&away"] != 1 || r.NoGUID != 2 || r.Attachments != 1 ||
		!slices.Equal(r.Created, []string{"Gone/&away"}) || len(r.Renumbered) != 1 || r.Kept != 23 {
		t.Errorf("%+v", r)
	}
	dry.DryRun = false
	dryJS, _ := json.Marshal(dry)
	js, _ := json.Marshal(r)
	if string(dryJS) != string(js) {
		t.Errorf("dry run says %s, then %s", dryJS, js)
	}
	got := s.show()
	if !slices.Equal(got["Gone/&away"].texts, []string{"new"}) && !slices.Equal(got["Gone/&-away"].texts, []string{"new"}) {
		t.Errorf("%+v", got)
	}
	in := got["INBOX"]
	if n := len(in.lines); n != 12 || !slices.Equal(in.lines[:9], was["INBOX"].lines) || in.validity != was["INBOX"].validity {
		t.Errorf("%+v", in)
	}
	s.want("the others", map[string]rsBox{"Work/Zwölf": got["Work/Zwölf"]}, map[string]rsBox{"Work/Zwölf": was["Work/Zwölf"]})
	again := s.resync(ResyncOptions{})
	if again.Duplicates != 0 || len(again.Placed) != 0 || again.Kept != 27 {
		t.Errorf("%+v", again)
	}
	s.want("again", s.show(), got)
}

// TestResyncDamagedCatalog: whatever happened to the catalog, every message that was not
// expunged is in a mailbox, and no GUID is lost.
func TestResyncDamagedCatalog(t *testing.T) {
	s := newResyncStore(t)
	was := s.show()
	whole, err := os.ReadFile(s.catalog())
	if err != nil {
		t.Fatal(err)
	}
	names := maps.Clone(s.ids.names)
	texts := map[string]bool{}
	for _, b := range was {
		for _, text := range b.texts {
			texts[text] = true
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	rounds, err := strconv.Atoi(os.Getenv("RESYNC_ROUNDS"))
	if err != nil {
		rounds = 60
	}
	for round := range rounds {
		b := slices.Clone(whole)
		what := rnd.IntN(4)
		switch what {
		case 0: // a page
			at := rnd.IntN(len(b)/4096) * 4096
			clear(b[at : at+4096])
		case 1: // some bytes
			for range 1 + rnd.IntN(8) {
				b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
			}
		case 2: // the end
			b = b[:rnd.IntN(len(b))]
		case 3: // all of it
			for i := range b {
				b[i] = byte(rnd.IntN(256))
			}
		}
		if err := os.WriteFile(s.catalog(), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s.ids.names = maps.Clone(names)
		r, err := Resync(t.Context(), s.loc, s.o, ResyncOptions{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		os.Remove(r.OldCatalog)
		missing := maps.Clone(texts)
		for name, got := range s.show() {
			w, ok := was[name]
			if ok && got.guid != w.guid {
				t.Errorf("round %d: %s has another GUID", round, name)
			}
			// Then no UID means another message; but of single bytes nobody can know.
			if ok && got.validity == w.validity && what != 1 {
				for _, line := range got.lines {
					uid, _, _ := strings.Cut(line, " ")
					for _, old := range w.lines {
						if strings.HasPrefix(old, uid+" ") && old[strings.LastIndex(old, " "):] != line[strings.LastIndex(line, " "):] {
							t.Errorf("round %d: %s: %q was %q", round, name, line, old)
						}
					}
				}
			}
			for _, text := range got.texts {
				delete(missing, text)
			}
		}
		if len(missing) > 0 {
			js, _ := json.Marshal(r)
			t.Errorf("round %d: %d messages are lost: %s", round, len(missing), js)
		}
	}
}

// A store of Dovecot's is not taken without its flags, unless that is wanted.
func TestResyncDovecot(t *testing.T) {
	s := newResyncStore(t)
	if err := os.Rename(s.catalog(), filepath.Join(s.loc.Root, storageDir, "dovecot.map.index.log")); err != nil {
		t.Fatal(err)
	}
	if _, err := Resync(t.Context(), s.loc, s.o, ResyncOptions{}); !errors.Is(err, ErrDovecot) {
		t.Error(err)
	}
	if r := s.resync(ResyncOptions{FilesOnly: true}); r.Found != 24 {
		t.Errorf("%+v", r)
	}
}

// TestResyncFaults spoils every step: the old catalog or the new one is there, whole.
func TestResyncFaults(t *testing.T) {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm") // where a sync costs nothing
	}
	for name, kind := range map[string]durable.Kind{"fail": durable.Fail, "crash": durable.Crash, "power cut": durable.PowerCut} {
		for n := 1; ; n++ {
			s := newResyncStore(t)
			was := s.show()
			if err := os.Remove(filepath.Join(s.loc.Root, storageDir, "m.1")); err != nil { // so that something is to be told
				t.Fatal(err)
			}
			f := durable.FaultAt(n, kind, unix.ENOSPC)
			s.o.Faults = f
			_, err := Resync(t.Context(), s.loc, s.o, ResyncOptions{})
			s.o.Faults = nil
			if !f.Hit() {
				if err != nil || n < 3 {
					t.Errorf("%d steps, %v", n, err)
				}
				break
			}
			if err == nil {
				t.Errorf("%s at step %d: no error", name, n)
			}
			s.resync(ResyncOptions{})
			got := s.show()
			for name, b := range got {
				if b.guid != was[name].guid || b.validity != was[name].validity || b.next != was[name].next {
					t.Errorf("%s at step %d: %s is %+v", name, n, name, b)
				}
			}
		}
	}
}
