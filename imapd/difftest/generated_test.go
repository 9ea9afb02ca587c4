package difftest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// seeds are those that a test run plays; DIFFTEST_SEEDS=from-to plays others.
func seeds(t *testing.T) (from, to uint64) {
	from, to = 1, 60
	if testing.Short() {
		to = 10
	}
	if s := os.Getenv("DIFFTEST_SEEDS"); s != "" {
		if _, err := fmt.Sscanf(s, "%d-%d", &from, &to); err != nil {
			t.Fatalf("DIFFTEST_SEEDS=%s: want from-to", s)
		}
	}
	return from, to
}

// TestGenerated plays generated scripts. What differs is shrunk and printed as a script.
func TestGenerated(t *testing.T) {
	w := newWorld(t)
	from, to := seeds(t)
	for seed := from; seed <= to; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := generate(seed)
			found, err := w.differs(s)
			if err != nil {
				t.Fatal(err)
			}
			if found == "" {
				return
			}
			s, found = w.shrink(t, s, found)
			t.Errorf("seed %d:\n%s\n%s", seed, s, found)
		})
	}
}

// differs plays a generated script and describes the first difference.
func (w *world) differs(s *script) (string, error) {
	r, err := w.compare(s)
	if err != nil {
		return "", err
	}
	for i, st := range s.steps {
		if ours, theirs := tolerate(st, r.ours[i], r.theirs[i]); !slices.Equal(ours, theirs) {
			return fmt.Sprintf("%s\n%s", st.source, diff(ours, theirs)), nil
		}
	}
	return "", nil
}

// shrink drops steps as long as something differs.
func (w *world) shrink(t *testing.T, s *script, found string) (*script, string) {
	for size := max(len(s.steps)/2, 1); size > 0; size /= 2 {
		for at := 0; at < len(s.steps); {
			smaller := *s
			smaller.steps = slices.Delete(slices.Clone(s.steps), at, min(at+size, len(s.steps)))
			f, err := w.differs(&smaller)
			if err != nil {
				t.Log(err)
			}
			if f == "" || err != nil {
				at += size
				continue
			}
			s, found = &smaller, f
		}
	}
	return s, found
}

// TestGenerator: a seed is one script for ever, and none is empty.
func TestGenerator(t *testing.T) {
	for seed := range uint64(50) {
		a, b := generate(seed).String(), generate(seed).String()
		if a != b || strings.Count(a, "\n") < 10 {
			t.Errorf("seed %d:\n%s\n%s", seed, a, b)
		}
	}
}
