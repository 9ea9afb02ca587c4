package mfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBytes compares a file with one that Dovecot would have written.
func TestBytes(t *testing.T) {
	d := newDir(t, Options{Now: func() time.Time { return time.Unix(0x6b0219b9, 0) }})
	one := message(t, d, "abc", "d29f4c2db919026b5a51000083ecc375")
	one.Metadata = Metadata{Physical: 123, Received: time.Unix(0x6b0219b9, 0), Virtual: 131, UIDL: "u", Order: "7",
		GUID: "d29f4c2db919026b5a51000083ecc375", Folder: "Work/Zw&APY-lf", Other: []string{"Qx"}}
	two := message(t, d, "", "g")
	two.Metadata = Metadata{Physical: 0, Received: time.Unix(-1, 0), Virtual: -1, GUID: "g", Folder: "a\rb"}
	a, err := d.Append(t.Context(), ids(0), []Message{one, two})
	if err != nil {
		t.Fatal(err)
	}
	a.Commit()
	want := "2 M1e C6b0219b9\n" +
		"\x01\x02N          0000000000000003\nabc\n\x01\x03\nZ7b\nR6b0219b9\nV83\nPu\nO7\nGd29f4c2db919026b5a51000083ecc375\nBWork/Zw&APY-lf\nQx\n\n" +
		"\x01\x02N          0000000000000000\n\n\x01\x03\nRffffffffffffffff\nGg\n\n"
	if got := string(readFile(t, d.path(1, false))); got != want {
		t.Errorf("file is\n%q, want\n%q", got, want)
	}
	second := uint32(strings.LastIndex(want, magic))
	end := uint32(len(want))
	if p, f := a.Places(), a.Files(); !slices.Equal(p, []Place{{1, 16, second - 16}, {1, second, end - second}}) ||
		!slices.Equal(f, []FileState{{1, end, time.Unix(0x6b0219b9, 0).UTC(), false}}) {
		t.Error(p, f)
	}
	s := wantText(t, d, a.Places()[0], "abc")
	if m := s.Metadata; fmt.Sprint(m) != fmt.Sprint(Metadata{123, time.Unix(0x6b0219b9, 0).UTC(), 131, "u", "7", one.Metadata.GUID, "Work/Zw&APY-lf", "", []string{"Qx"}}) {
		t.Errorf("%+v", m)
	}
	s = wantText(t, d, a.Places()[1], "")
	if s.Received.Unix() != -1 || s.Physical != -1 || s.Virtual != -1 || s.Folder != "" {
		t.Errorf("%+v", s.Metadata)
	}
}

// TestRotation fills files: of size, of a single large message, and of what another has
// locked or lengthened.
func TestRotation(t *testing.T) {
	d := newDir(t, Options{RotateSize: 4000})
	next := ids(0)
	text := strings.Repeat("x", 1000)
	places := save(t, d, next, text, text, text, text, text) // three fit
	if places[2].File != 1 || places[3].File != 2 || places[4].File != 2 {
		t.Error(places)
	}
	big := save(t, d, next, large(5000))[0]
	huge := save(t, d, next, large(3*spoolMemory))[0]
	small := save(t, d, next, "small")[0]
	if big.File != 3 || huge.File != 4 || small.File != 2 {
		t.Error(big, huge, small)
	}
	wantText(t, d, big, large(5000))
	wantText(t, d, huge, large(3*spoolMemory))
	wantText(t, d, small, "small")

	appendFile(t, d.path(2, false), "what is not ours")
	if p := save(t, d, next, "one", "two"); p[0].File != 1 || p[1].File != 1 {
		t.Error("behind a foreign tail: ", p)
	}
	lock, err := d.Lock(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(1); !errors.Is(err, ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	if p := save(t, d, next, "x")[0]; p.File != 5 {
		t.Error("into a locked file: ", p)
	}
	lock.Unlock()
	f, err := os.Open(d.path(5, false))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // as Dovecot would
		t.Fatal(err)
	}
	if p := save(t, d, next, "x")[0]; p.File != 1 {
		t.Error("into a file that another program has locked: ", p)
	}
	if _, err := d.Lock(5); !errors.Is(err, ErrBusy) {
		t.Errorf("locked by another: %v", err)
	}
	if got := string(readFile(t, d.path(2, false))); !strings.HasSuffix(got, "what is not ours") {
		t.Error("the foreign tail is gone")
	}
}

// TestIntervals compares with the boundaries that Dovecot computes.
func TestIntervals(t *testing.T) {
	local := func(d, h, m, s int) time.Time { return time.Date(2026, 3, d, h, m, s, 0, time.Local) }
	now := local(4, 5, 6, 7)
	for _, tt := range []struct {
		interval time.Duration
		want     time.Time
	}{
		{0, time.Time{}},
		{24 * time.Hour, local(4, 0, 0, 0)},
		{7 * 24 * time.Hour, local(-2, 0, 0, 0)},
		{time.Hour, local(4, 5, 0, 0)},
		{3 * time.Hour, local(4, 3, 0, 0)},
		{time.Minute, local(4, 5, 6, 0)},
		{90 * time.Second, local(4, 5, 5, 30)},
		{time.Second, now},
		{10 * time.Second, local(4, 5, 5, 58)},
	} {
		if got := rotateStamp(now, tt.interval); !got.Equal(tt.want) {
			t.Errorf("%v: %v, want %v", tt.interval, got, tt.want)
		}
	}
	d := newDir(t, Options{RotateInterval: time.Hour, Now: func() time.Time { return now }})
	next := ids(0)
	save(t, d, next, "x")
	now = local(4, 5, 59, 59)
	if p := save(t, d, next, "x")[0]; p.File != 1 {
		t.Error("in the same hour: ", p)
	}
	now = local(4, 6, 0, 0)
	if p := save(t, d, next, "x")[0]; p.File != 2 {
		t.Error("in the next hour: ", p)
	}
}

// Files of a store are known only as far as its catalog knows them.
func TestKnown(t *testing.T) {
	d := newDir(t, Options{})
	p := save(t, d, ids(6), "one", "two")
	state := FileState{ID: 7, End: p[1].Offset + p[1].Size, Created: testTime}
	for _, tt := range []struct {
		name string
		f    []FileState
		want uint32
	}{
		{"all", []FileState{state}, 7},
		{"not the last message", []FileState{{ID: 7, End: p[0].Offset + p[0].Size, Created: testTime}}, 8},
		{"in the other directory", []FileState{{ID: 7, End: state.End, Created: testTime, Alt: true}}, 9},
		{"nothing", nil, 10},
		{"a file that is gone", []FileState{{ID: 3, End: 100}}, 11},
	} {
		re := newDir(t, Options{Root: d.o.Root, Alt: t.TempDir()})
		re.Known(tt.f)
		if got := save(t, re, ids(7), "x")[0]; got.File != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	wantText(t, d, p[0], "one")
	wantText(t, d, p[1], "two")
}

// New files never take the ID of one that is there.
func TestTakenIDs(t *testing.T) {
	root, alt := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(root, "storage", "m.1"), filepath.Join(alt, "storage", "m.2")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("foreign"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := newDir(t, Options{Root: root, Alt: alt})
	if p := save(t, d, ids(0), "x")[0]; p.File != 3 {
		t.Error(p)
	}
	if _, err := d.Append(t.Context(), func() uint32 { return 0 }, []Message{message(t, newDir(t, Options{Root: root}), large(2*spoolMemory), "g")}); err == nil {
		t.Error("no error where there are no more IDs")
	}
	if got := names(t, root); got != "m.1 m.3" {
		t.Error(got)
	}
}

func TestUndo(t *testing.T) {
	d := newDir(t, Options{RotateSize: 3000})
	next := ids(0)
	save(t, d, next, "kept")
	before := readFile(t, d.path(1, false))
	a, err := d.Append(t.Context(), next, []Message{message(t, d, "one", "g"), message(t, d, strings.Repeat("x", 2900), "g"), message(t, d, large(2*spoolMemory), "g")})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, d.o.Root); got != "m.1 m.2 m.3" {
		t.Error(got)
	}
	if err := a.Undo(); err != nil {
		t.Error(err)
	}
	a.Commit() // without effect
	if got := names(t, d.o.Root); got != "m.1" || string(readFile(t, d.path(1, false))) != string(before) {
		t.Error("not taken back: ", got)
	}
	if p := save(t, d, next, "again")[0]; p.File != 1 {
		t.Error(p)
	}

	// What another program has written behind ours stays.
	a, err = d.Append(t.Context(), next, []Message{message(t, d, "one", "g")})
	if err != nil {
		t.Fatal(err)
	}
	appendFile(t, d.path(1, false), "foreign")
	if err := a.Undo(); err == nil || !strings.HasSuffix(string(readFile(t, d.path(1, false))), "foreign") {
		t.Error("foreign bytes were taken back: ", err)
	}
	if p := save(t, d, next, "again")[0]; p.File == 1 {
		t.Error(p)
	}
}

func TestRefused(t *testing.T) {
	d := newDir(t, Options{})
	for name, m := range map[string]Metadata{
		"no GUID":            {},
		"GUID of two lines":  {GUID: "a\nGb"},
		"UIDL of two lines":  {GUID: "a", UIDL: "x\n\n"},
		"a known key":        {GUID: "a", Other: []string{"Gb"}},
		"an old key":         {GUID: "a", Other: []string{"\x20"}},
		"no key":             {GUID: "a", Other: []string{""}},
		"far too much of it": {GUID: strings.Repeat("x", maxTrailer)},
	} {
		if _, err := d.Append(t.Context(), ids(0), []Message{message(t, d, "x", "g"), {message(t, d, large(2*spoolMemory), "").Spool, m}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := d.Append(t.Context(), ids(0), []Message{{d.Create(), Metadata{GUID: "a", External: "0 1 - x"}}}); !errors.Is(err, ErrAttachments) {
		t.Error(err)
	}
	s := d.Create()
	s.size = math.MaxUint32 - maxTrailer
	if _, err := s.Write([]byte("x")); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if err := s.Finish(); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Append(ctx, ids(0), []Message{message(t, d, "x", "g")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := names(t, d.o.Root); got != "" {
		t.Errorf("left behind: %s", got)
	}
	m := message(t, d, "x", "g")
	save(t, d, ids(0), "y")
	a, err := d.Append(t.Context(), ids(1), []Message{m})
	if err != nil {
		t.Fatal(err)
	}
	a.Commit()
	if _, err := d.Append(t.Context(), ids(1), []Message{m}); err == nil {
		t.Error("a message was saved twice")
	}
	if _, err := m.Spool.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// A spool keeps little in memory, and Abort leaves nothing.
func TestSpool(t *testing.T) {
	d := newDir(t, Options{Preallocate: true})
	s := d.Create()
	for range 5 {
		if n, err := io.WriteString(s, large(spoolMemory-1)); err != nil || n != spoolMemory-1 {
			t.Fatal(n, err)
		}
	}
	if len(s.held)*pieceSize > spoolMemory || !strings.HasPrefix(names(t, d.o.Root), ".temp.") {
		t.Error(len(s.held), names(t, d.o.Root))
	}
	if n, err := d.RemoveTemporary(); n != 0 || err != nil {
		t.Error("a file that is being written was removed: ", n, err)
	}
	if err := s.Finish(); err != nil {
		t.Error(err)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := d.Append(t.Context(), ids(0), []Message{{s, metadata("g")}}); err == nil {
		t.Error("what was given up was saved")
	}
	if got := names(t, d.o.Root); got != "" {
		t.Error(got)
	}
	left := filepath.Join(d.o.Root, "storage", ".temp.1.P2Q3M4.host")
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := d.RemoveTemporary(); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// TestPreallocated: the space is taken, and nobody sees it.
func TestPreallocated(t *testing.T) {
	d := newDir(t, Options{Preallocate: true, RotateSize: 1 << 20})
	next := ids(0)
	p := save(t, d, next, "one")
	var st unix.Stat_t
	if err := unix.Stat(d.path(1, false), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != p[0].End() {
		t.Errorf("file of %d bytes, the message ends at %d", st.Size, p[0].End())
	}
	if unix.Fallocate(int(openFd(t, d.path(1, false))), unix.FALLOC_FL_KEEP_SIZE, 0, 1) == nil && st.Blocks*512 < 1<<20 {
		t.Errorf("only %d blocks are taken", st.Blocks)
	}
	if q := save(t, d, next, "two")[0]; q.File != 1 || int64(q.Offset) != p[0].End() {
		t.Error(q)
	}
}

func openFd(t *testing.T, path string) uintptr {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Fd()
}

// Files have the mode of the directory, and it has that of the root.
func TestModes(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	root := t.TempDir()
	if err := os.Chmod(root, 0o770); err != nil {
		t.Fatal(err)
	}
	d := newDir(t, Options{Root: root})
	save(t, d, ids(0), "x")
	for path, want := range map[string]os.FileMode{filepath.Join(root, "storage"): 0o770 | os.ModeDir, d.path(1, false): 0o640} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
}
