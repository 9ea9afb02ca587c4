package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, tt := range []struct {
		perm os.FileMode
		text string
	}{{0o600, "one"}, {0o666, "two"}, {0o640, ""}} {
		if err := Replace(path, tt.perm, text(tt.text)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); got != tt.text || info.Mode() != tt.perm {
			t.Errorf("got %q, %v; want %q, %v", got, info.Mode(), tt.text, tt.perm)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestReplaceDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("target"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := Replace(link, 0o600, text("new")); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, target); got != "target" {
		t.Errorf("wrote through the link: %q", got)
	}
	if got := contents(t, link); got != "new" {
		t.Errorf("link holds %q", got)
	}
}

func TestReplaceKeepsTheWritersError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no more")
	err := Replace(path, 0o600, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v does not wrap the writer's", err)
	}
	if got := contents(t, path); got != "old" {
		t.Errorf("contents %q", got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

// spoil runs op with a fault at every step in turn, in a fresh directory each, and checks
// that f holds old or new contents whole, and the new ones where op reported success.
func spoil(t *testing.T, op func(f *Faults, path string) error) {
	t.Helper()
	setup := func() string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("old contents"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	count := &Faults{}
	if err := op(count, setup()); err != nil {
		t.Fatal(err)
	}
	steps := count.Steps()
	if len(steps) < 5 {
		t.Fatalf("only %d steps: %v", len(steps), steps)
	}
	for n := 1; n <= len(steps)+1; n++ {
		for _, kind := range []Kind{Fail, Short, Crash, PowerCut} {
			path := setup()
			f := FaultAt(n, kind, nil)
			err := op(f, path)
			if f.Hit() != (n <= len(steps)) && err == nil {
				t.Fatalf("step %d was never reached", n)
			}
			got := contents(t, path)
			switch {
			case got != "old contents" && got != "new contents":
				t.Errorf("step %d kind %d: file holds %q", n, kind, got)
			case err == nil && got != "new contents":
				t.Errorf("step %d kind %d: success reported, file holds %q", n, kind, got)
			case err != nil && !errors.Is(err, ErrFault) && !errors.Is(err, ErrCrashed):
				t.Errorf("step %d kind %d: error %v", n, kind, err)
			}
			if left := names(t, filepath.Dir(path)); len(left) != 1 && (kind == Fail || kind == Short) &&
				n <= len(steps) && steps[n-1].Op != OpRemove {
				t.Errorf("step %d kind %d: left behind %v", n, kind, left)
			}
		}
	}
}

func TestReplaceFaults(t *testing.T) {
	spoil(t, func(f *Faults, path string) error {
		return f.Replace(path, 0o600, text("new contents"))
	})
}

// The control: without a sync before the rename the power cut must show.
func TestFaultsNoticeMissingSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := FaultAt(4, PowerCut, nil) // create, write, rename, syncdir
	tmp, err := f.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.Close()
	if _, err := tmp.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	if err := f.SyncDir(filepath.Dir(path)); !errors.Is(err, ErrCrashed) {
		t.Fatalf("error %v, want ErrCrashed", err)
	}
	if got := contents(t, path); got != "" {
		t.Errorf("file holds %q, want nothing", got)
	}
}

func TestOpenFileRefusesLinks(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	var f *Faults
	if file, err := f.OpenFile(link, os.O_RDWR, 0); err == nil {
		file.Close()
		t.Error("followed a symbolic link")
	}
}

func TestSyncDirErrors(t *testing.T) {
	if err := SyncDir(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}

// TestReplaceSweeps has files in the directory that killed processes have left.
func TestReplaceSweeps(t *testing.T) {
	dir := t.TempDir()
	stay := []string{".list.tmp-new", ".other.tmp-old", "list.tmp-old"}
	for _, name := range append(stay, ".list.tmp-old") {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-2 * tempAge)
		if strings.HasSuffix(name, "-old") {
			if err := os.Chtimes(path, then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := Replace(filepath.Join(dir, "list"), 0o600, func(w io.Writer) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := append(stay, "list")
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
}
