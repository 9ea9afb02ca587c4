package handover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/internal/durable"
	"mailcrypt/internal/teststore"
	"mailcrypt/storage/mdbox"
)

// TestCrashes: stopped at any step of an import or an export, the store is Dovecot's or ours,
// and doing it again completes it.
func TestCrashes(t *testing.T) {
	inMemory(t)
	orig := t.TempDir()
	teststore.Unpack(t, "../../testdata/vectors/mdbox-v2-zlib-zstd/store.tar.gz", orig)
	homes, err := filepath.Glob(filepath.Join(orig, "*", "mdbox"))
	if err != nil || len(homes) == 0 {
		t.Fatal(err)
	}
	made := func() mdbox.Location {
		dir := filepath.Join(t.TempDir(), "mdbox")
		if err := os.CopyFS(dir, os.DirFS(homes[0])); err != nil {
			t.Fatal(err)
		}
		return mdbox.Location{Root: dir}
	}
	l := made()
	count := &durable.Faults{}
	if _, err := Import(t.Context(), Source{Location: l}, l, Options{Faults: count}); err != nil {
		t.Fatal(err)
	}
	want := stateOf(t, l)
	for n := 1; n <= len(count.Steps()); n += stride() {
		l := made()
		step := count.Steps()[n-1]
		_, _ = Import(t.Context(), Source{Location: l}, l, Options{Faults: durable.FaultAt(n, durable.PowerCut, nil)})
		if _, oerr := os.Stat(filepath.Join(l.Root, "storage", "dovecot.map.index.log")); oerr == nil {
			if _, err := mdbox.Open(t.Context(), l, mdbox.Options{}); !errors.Is(err, mdbox.ErrDovecot) {
				t.Fatalf("step %d %v: %v", n, step, err)
			}
			dry, err := Import(t.Context(), Source{Location: l}, l, Options{DryRun: true})
			if err != nil || len(dry.Lost)+len(dry.Found)+len(dry.Notes) > 0 {
				t.Fatalf("step %d %v: Dovecot's store has changed: %+v %v", n, step, dry, err)
			}
		}
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{}); err != nil && !errors.Is(err, ErrOurs) {
			t.Fatalf("step %d %v: %v", n, step, err)
		}
		sameState(t, fmt.Sprintf("import step %d %v", n, step), stateOf(t, l), want)
		noLeft(t, l)
	}
	count = &durable.Faults{}
	if _, err := Export(t.Context(), l, "", Options{Faults: count}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(count.Steps()); n += stride() {
		l := made()
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{}); err != nil {
			t.Fatal(err)
		}
		step := count.Steps()[n-1]
		_, _ = Export(t.Context(), l, "", Options{Faults: durable.FaultAt(n, durable.PowerCut, nil)})
		if there(filepath.Join(l.Root, "storage", "mailcryptd.mdbox.db")) == there(filepath.Join(l.Root, "storage", "dovecot.map.index.log")) {
			t.Fatalf("step %d %v: both have it, or none", n, step)
		}
		if _, err := Export(t.Context(), l, "", Options{}); err != nil && !errors.Is(err, mdbox.ErrDovecot) {
			t.Fatalf("step %d %v: %v", n, step, err)
		}
		noLeft(t, l)
		if _, err := Import(t.Context(), Source{Location: l}, l, Options{}); err != nil {
			t.Fatalf("step %d %v: %v", n, step, err)
		}
		sameState(t, fmt.Sprintf("export step %d %v", n, step), stateOf(t, l), want)
	}
}

// noLeft looks for what should have been put aside.
func noLeft(t testing.TB, l mdbox.Location) {
	t.Helper()
	for _, name := range []string{stageDir, "storage/" + markerName} {
		if there(filepath.Join(l.Root, name)) {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestCrashesElsewhere: an import into another place leaves Dovecot's store as it is, whatever
// happens; done again it succeeds. So does an export.
func TestCrashesElsewhere(t *testing.T) {
	inMemory(t)
	for _, name := range []string{"mdbox-v2-zlib-zstd/mdbox", "sdbox-v2-p256-none/sdbox"} {
		dir := t.TempDir()
		archive, driver, _ := strings.Cut(name, "/")
		teststore.Unpack(t, "../../testdata/vectors/"+archive+"/store.tar.gz", dir)
		roots, err := filepath.Glob(filepath.Join(dir, "*", driver))
		if err != nil || len(roots) == 0 {
			t.Fatal(err)
		}
		place := func() mdbox.Location {
			base := t.TempDir()
			return mdbox.Location{Root: filepath.Join(base, "own"), Index: filepath.Join(base, "ix")}
		}
		l := place()
		src, err := ParseSource(roots[0], "", l)
		if err != nil {
			t.Fatal(err)
		}
		count := &durable.Faults{}
		if _, err := Import(t.Context(), src, l, Options{Faults: count}); err != nil {
			t.Fatal(err)
		}
		want := stateOf(t, l)
		for n := 1; n <= len(count.Steps()); n += stride() {
			l := place()
			step := count.Steps()[n-1]
			_, err := Import(t.Context(), src, l, Options{Faults: durable.FaultAt(n, durable.PowerCut, nil)})
			if err == nil {
				t.Logf("step %d %v: no error", n, step)
			}
			if _, err := Import(t.Context(), src, l, Options{}); err != nil && !errors.Is(err, ErrNotEmpty) {
				t.Fatalf("%s step %d %v: %v", name, n, step, err)
			}
			sameState(t, fmt.Sprintf("%s step %d %v", name, n, step), stateOf(t, l), want)
		}
		count = &durable.Faults{}
		to := filepath.Join(t.TempDir(), "out")
		if _, err := Export(t.Context(), l, to, Options{Faults: count}); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= len(count.Steps()); n += stride() {
			to := filepath.Join(t.TempDir(), "out")
			step := count.Steps()[n-1]
			_, _ = Export(t.Context(), l, to, Options{Faults: durable.FaultAt(n, durable.PowerCut, nil)})
			if _, err := Export(t.Context(), l, to, Options{}); err != nil && !errors.Is(err, ErrNotEmpty) {
				t.Fatalf("export step %d %v: %v", n, step, err)
			}
			back := place()
			if _, err := Import(t.Context(), Source{Location: mdbox.Location{Root: to}}, back, Options{}); err != nil {
				t.Fatalf("export step %d %v: %v", n, step, err)
			}
			sameState(t, fmt.Sprintf("export step %d %v", n, step), stateOf(t, back), want)
		}
	}
}

// stride is how many steps are passed over: in short runs not every one is tried.
func stride() int {
	if testing.Short() {
		return 3
	}
	return 1
}

// inMemory puts temporary directories where syncing costs nothing.
func inMemory(t *testing.T) {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}
