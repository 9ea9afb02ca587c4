package mfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
)

// A faultCase is an operation that is spoilt at each of its steps in turn.
type faultCase struct {
	name string
	run  func(d *Dir, next func() uint32, old []Place) (*Appended, error)
	want []string // the texts at the places that it returns
	undo bool
}

func spooled(d *Dir, texts ...string) (list []Message, err error) {
	for i, text := range texts {
		s := d.Create()
		list = append(list, Message{s, metadata(fmt.Sprintf("n%d", i))})
		if _, werr := io.WriteString(s, text); werr != nil {
			err = werr
		}
	}
	if err != nil {
		for _, m := range list {
			m.Spool.Abort()
		}
	}
	return list, err
}

func appending(texts ...string) func(*Dir, func() uint32, []Place) (*Appended, error) {
	return func(d *Dir, next func() uint32, _ []Place) (*Appended, error) {
		list, err := spooled(d, texts...)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			if err := m.Spool.Finish(); err != nil {
				for _, m := range list {
					m.Spool.Abort()
				}
				return nil, err
			}
		}
		return d.Append(context.Background(), next, list)
	}
}

var faultTexts = []string{"new", strings.Repeat("y", 2000), large(spoolMemory + 1), "last"}

var faultCases = []faultCase{
	{name: "one", run: appending("new"), want: []string{"new"}},
	{name: "many", run: appending(faultTexts...), want: faultTexts},
	{name: "many, undone", run: appending(faultTexts...), want: faultTexts, undo: true},
	{name: "copy", run: func(d *Dir, next func() uint32, old []Place) (*Appended, error) {
		return d.Copy(context.Background(), next, old, false)
	}, want: []string{"first", strings.Repeat("x", 1500)}},
	{name: "to the other directory", run: func(d *Dir, next func() uint32, old []Place) (*Appended, error) {
		return d.Copy(context.Background(), next, old, true)
	}, want: []string{"first", strings.Repeat("x", 1500)}},
}

// TestFaults spoils every step of every operation in every way. What was there before must
// stay; what was acknowledged must be there, also after a power cut; what was refused must
// be gone, if the process lives on.
func TestFaults(t *testing.T) {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm") // where a sync costs nothing
	}
	kinds := map[string]durable.Kind{"fail": durable.Fail, "short": durable.Short, "crash": durable.Crash, "power cut": durable.PowerCut}
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			for name, kind := range kinds {
				for n := 1; ; n++ {
					f := durable.FaultAt(n, kind, unix.ENOSPC)
					oneFault(t, &c, f, fmt.Sprintf("%s at step %d", name, n))
					if !f.Hit() {
						if n == 1 {
							t.Error("the operation has no steps")
						}
						break
					}
					if n > 100 {
						t.Fatal("the operation does not end")
					}
				}
			}
		})
	}
}

func oneFault(t *testing.T, c *faultCase, f *durable.Faults, what string) {
	t.Helper()
	o := Options{Root: t.TempDir(), Alt: t.TempDir(), RotateSize: 3500}
	d := newDir(t, o)
	next := ids(0)
	old := save(t, d, next, "first", strings.Repeat("x", 1500))
	d.o.Faults = f
	a, err := c.run(d, next, old)
	var places []Place
	var undoErr error
	var states []FileState
	if err == nil {
		places, states = a.Places(), a.Files()
		if c.undo {
			undoErr = a.Undo()
		} else {
			a.Commit()
		}
	}
	d.o.Faults = nil
	if steps := f.Steps(); f.Hit() {
		what += fmt.Sprintf(" of %v", steps[len(steps)-1])
	}
	crashed := errors.Is(errors.Join(err, undoErr), durable.ErrCrashed)
	if err != nil && !crashed && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%s: %v", what, err)
	}

	if crashed { // another process
		d = newDir(t, o)
		d.Known([]FileState{{ID: 1, End: uint32(old[1].End()), Created: testTime}})
		if _, err := d.RemoveTemporary(); err != nil {
			t.Error(what, err)
		}
	}
	wantText(t, d, old[0], "first")
	wantText(t, d, old[1], strings.Repeat("x", 1500))
	for i, p := range places {
		if !c.undo {
			wantText(t, d, p, c.want[i])
		}
	}
	if c.undo && err == nil && undoErr == nil || err != nil && !crashed && !strings.Contains(err.Error(), "taking back") && !strings.Contains(err.Error(), "removing") {
		if got := names(t, o.Root) + names(t, o.Alt); got != "m.1" {
			t.Errorf("%s: left behind: %s", what, got)
		}
		if texts, err := scanAll(t, d, File{ID: 1}); len(texts) != 2 || err != nil {
			t.Errorf("%s: m.1 has %d messages, %v", what, len(texts), err)
		}
	}
	// The store goes on, and what is new has a place of its own.
	if len(states) > 0 && crashed {
		next = ids(slices.MaxFunc(states, func(a, b FileState) int { return int(a.ID) - int(b.ID) }).ID)
	}
	p := save(t, d, next, "after")[0]
	wantText(t, d, p, "after")
	wantText(t, d, old[1], strings.Repeat("x", 1500))
	for i, p := range places {
		if !c.undo {
			wantText(t, d, p, c.want[i])
		}
	}
}
