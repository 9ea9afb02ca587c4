package gcmwide

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const assembler = "wide_amd64.s"

func TestGenerated(t *testing.T) {
	name := filepath.Join(t.TempDir(), assembler)
	if out, err := exec.Command("go", "run", "gen.go", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(assembler)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what gen.go writes: run go generate", assembler)
	}
}

// TestRegistersAreCleared looks at what each function does before it returns, once, at its end.
func TestRegistersAreCleared(t *testing.T) {
	text, err := os.ReadFile(assembler)
	if err != nil {
		t.Fatal(err)
	}
	functions := strings.Split(string(text), "\nTEXT ")[1:]
	if len(functions) != 6 {
		t.Errorf("%d functions, want 6", len(functions))
	}
	all := []string{"\tVZEROALL"}
	for i := 16; i < 32; i++ {
		all = append(all, fmt.Sprintf("\tVPXORQ X%d, X%d, X%d", i, i, i))
	}
	wipe := strings.Join(append(all, "\tRET"), "\n")
	for _, f := range functions {
		name, _, _ := strings.Cut(f, "(")
		want := wipe
		if strings.HasPrefix(name, "·subWord") { // it uses X0 alone
			want = "\tVZEROALL\n\tRET"
		}
		body, _, _ := strings.Cut(f, "\n\n")
		if !strings.HasSuffix(strings.TrimRight(body, "\n"), want) || strings.Count(body, "RET") != 1 {
			t.Errorf("%s does not clear all registers", name)
		}
	}
}
