package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	if s := spreadOf([]float64{3, 1, 2, 10}); s != (spread{2.5, 1, 10}) {
		t.Errorf("spread of four: %+v", s)
	}
	if s := spreadOf([]float64{5, 1, 2}); s != (spread{2, 1, 5}) {
		t.Errorf("spread of three: %+v", s)
	}
	if s := (spread{0.05, 1.234, 1234}).String(); s != "0.05 (1.23–1234)" {
		t.Errorf("printed: %s", s)
	}
}

// A ratio is that of a pair, not of medians.
func TestRow(t *testing.T) {
	r := row{work: work{name: "w", unit: "message", count: 100, subjects: []subject{{label: "a"}, {label: "b"}}},
		samples: [][]sample{
			{{wall: 2 * time.Second, cpu: time.Second}, {wall: 8 * time.Second, cpu: time.Second}, {wall: 4 * time.Second}},
			{{wall: time.Second}, {wall: 2 * time.Second}, {wall: 4 * time.Second}}}}
	if got := r.ratio(); got != (spread{2, 1, 4}) {
		t.Errorf("ratio: %+v", got)
	}
	if got := r.rate(0); got != (spread{25, 12.5, 50}) {
		t.Errorf("rate: %+v", got)
	}
	if got := r.cpu(0); got != 10 {
		t.Errorf("CPU: %v ms a message", got)
	}
	b := &bench{machine: "- a machine\n", rows: []row{r, {work: work{name: "broken", subjects: r.subjects}, err: errors.New("no\nway")}}}
	text := b.report()
	for _, want := range []string{"| w ", "2.00 (1.00–4.00)", "10.0 → 0.00", "failed: no way", "- a machine"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}
}

func TestWritePage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	os.WriteFile(path, []byte("head\n"+beginMark+"old"+endMark+"\ntail\n"), 0o600)
	if err := writePage(path, "new"); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if want := "head\n" + beginMark + "\n\nnew\n" + endMark + "\ntail\n"; string(text) != want {
		t.Errorf("page: %q", text)
	}
	os.WriteFile(path, []byte("no marks"), 0o600)
	if writePage(path, "new") == nil {
		t.Error("a page without marks was written")
	}
}

func TestWorksHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, driver := range []string{"maildir", "mdbox"} {
		b := &bench{options: options{driver: driver, divide: 1}, log: io.Discard}
		for _, w := range b.works() {
			if key := driver + w.name; seen[key] || w.name == "" || (w.prepare == nil) == (w.facts == nil) {
				t.Errorf("work %q with %s", w.name, driver)
			} else {
				seen[key] = true
			}
		}
	}
}
