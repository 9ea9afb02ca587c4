package attrdict

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func openBolt(t *testing.T, path string) Dict {
	t.Helper()
	d, err := OpenBolt(path, BoltOptions{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fill stores enough for some hundred pages.
func fill(t *testing.T, d Dict) {
	t.Helper()
	err := d.Update(context.Background(), func(tx Tx) error {
		for i := range 1000 {
			if err := tx.Set(fmt.Sprintf("priv/%04d", i), bytes.Repeat([]byte{byte(i)}, 600)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBoltCreation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "keys.db")
	if _, err := OpenBolt(path, BoltOptions{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read-only: %v, want not found", err)
	}
	d := openBolt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("created with %v, %v", info.Mode(), err)
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 1 {
		t.Errorf("left behind: %v, %v", got, err)
	}
	if _, err := OpenBolt(path, BoltOptions{Timeout: 60 * time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("second opening: %v, want ErrLocked", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBolt(path, BoltOptions{}); err == nil {
		t.Error("opened a file that everybody may write")
	}
}

// Many who create at once end up with one database.
func TestBoltCreationRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			d, err := OpenBolt(path, BoltOptions{Timeout: 20 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			set(t, d, strconv.Itoa(i), "here")
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d := openBolt(t, path)
	defer d.Close()
	if got := strings.Count(dump(t, d, ""), "here"); got != 8 {
		t.Errorf("%d of 8 writes are there", got)
	}
}

// A file that is cut while it is open is an error, for this and all later calls, and no
// signal. Others are not harmed, and the lock is free after Close.
func TestBoltTruncatedWhileOpen(t *testing.T) {
	ctx := context.Background()
	for _, first := range []string{"view", "update", "commit"} {
		t.Run(first, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.db")
			d := openBolt(t, path)
			fill(t, d)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			d = openBolt(t, path)
			view := func() error {
				return d.View(ctx, func(r Reader) error { return r.Iterate("", func(string, []byte) error { return nil }) })
			}
			update := func() error {
				return d.Update(ctx, func(tx Tx) error { return tx.Set("priv/0500", []byte("x")) })
			}
			if first == "commit" {
				err = d.Update(ctx, func(tx Tx) error {
					return errors.Join(tx.Set("priv/0500", []byte("x")), tx.Unset("priv/0900"), os.Truncate(path, 4096))
				})
			} else {
				if err := os.Truncate(path, 4096); err != nil {
					t.Fatal(err)
				}
				err = map[string]func() error{"view": view, "update": update}[first]()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("first use: %v, want ErrCorrupt", err)
			}
			for _, err := range []error{view(), update()} {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("later use: %v, want ErrCorrupt", err)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if _, err := OpenBolt(path, BoltOptions{}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("opening the cut file: %v, want ErrCorrupt", err)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			d = openBolt(t, path) // restored: opens without a restart
			defer d.Close()
			if err := view(); err != nil {
				t.Error(err)
			}
		})
	}
}

// tryAll opens a database and reads and writes all of it; any error must be typed.
func tryAll(path string) error {
	d, err := OpenBolt(path, BoltOptions{})
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.View(context.Background(), func(r Reader) error {
		return r.Iterate("", func(k string, _ []byte) error { _, err := r.Get(k); return err })
	})
	if err != nil {
		return err
	}
	return d.Update(context.Background(), func(tx Tx) error {
		for i := range 50 {
			if err := tx.Set(fmt.Sprintf("priv/%04d", i*20), []byte("new")); err != nil {
				return err
			}
		}
		return nil
	})
}

// No damage ends the process or goes by without notice where a page is missing.
func TestBoltDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.db")
	d := openBolt(t, path)
	fill(t, d)
	set(t, d, "priv/last", "x")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	// The newer of the two meta pages (bbolt: internal/common/meta.go).
	var meta struct{ freelist, high, txid uint64 }
	for _, m := range [][]byte{whole[16:], whole[page+16:]} {
		if txid := binary.NativeEndian.Uint64(m[48:]); txid >= meta.txid {
			meta.freelist, meta.high, meta.txid = binary.NativeEndian.Uint64(m[32:]), binary.NativeEndian.Uint64(m[40:]), txid
		}
	}
	if meta.high < 4 || int(meta.high)*page > len(whole) {
		t.Fatalf("meta page: %+v", meta)
	}
	try := func(name string, damaged []byte, must bool) {
		t.Helper()
		broken := filepath.Join(dir, "broken.db")
		if err := os.WriteFile(broken, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		err := tryAll(broken)
		if must && !errors.Is(err, ErrCorrupt) || err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	try("empty", nil, true)
	try("100 bytes", whole[:100], true)
	for at := page; at < int(meta.high)*page; at += page * 7 {
		try(fmt.Sprintf("cut at page %d", at/page), whole[:at], true)
		try(fmt.Sprintf("cut within page %d", at/page), whole[:at+10], true)
	}
	edit := func(at int, b ...byte) []byte {
		out := bytes.Clone(whole)
		copy(out[at:], b)
		return out
	}
	swapped := bytes.Clone(whole)
	copy(swapped, whole[page:2*page])
	copy(swapped[page:], whole[:page])
	try("meta pages swapped", swapped, false)
	try("one meta page", edit(0, make([]byte, page)...), false)
	try("no meta page", edit(0, make([]byte, 2*page)...), true)
	try("free list of 65535", edit(int(meta.freelist)*page+10, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), true)
	rnd := rand.New(rand.NewPCG(1, 2))
	junk := make([]byte, page)
	for i := range junk {
		junk[i] = byte(rnd.Uint32())
	}
	for n := 2; n < int(meta.high); n += 5 {
		try(fmt.Sprintf("junk in page %d", n), edit(n*page, junk...), false)
		try(fmt.Sprintf("zeros in page %d", n), edit(n*page, make([]byte, page)...), false)
		try(fmt.Sprintf("flipped head of page %d", n), edit(n*page+8, byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())), false)
	}
}

// A database that was written without its free list makes bbolt scan in a goroutine of its
// own; and one without our bucket is not ours.
func TestBoltForeign(t *testing.T) {
	for _, o := range []bolt.Options{{NoFreelistSync: true}, {}} {
		path := filepath.Join(t.TempDir(), "keys.db")
		db, err := bolt.Open(path, 0o600, &o)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBolt(path, BoltOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("free list synced %v: %v, want ErrCorrupt", !o.NoFreelistSync, err)
		}
	}
}

// TestBoltKill kills a writing process again and again: whatever it acknowledged is there,
// and its pairs belong together.
func TestBoltKill(t *testing.T) {
	if path := os.Getenv("ATTRDICT_TEST_WRITER"); path != "" {
		writeForever(path)
	}
	path := filepath.Join(t.TempDir(), "keys.db")
	acked := 0
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBoltKill$")
		cmd.Env = append(os.Environ(), "ATTRDICT_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed somewhere in the transactions after some acknowledged ones.
		until := rand.IntN(10)
		for lines := bufio.NewScanner(out); lines.Scan(); until-- {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				acked = n
			}
			if until == 0 {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // killed
		d, err := OpenBolt(path, BoltOptions{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		err = d.View(context.Background(), func(r Reader) error {
			a, err := r.Get("priv/a")
			if errors.Is(err, ErrNotFound) && acked == 0 {
				return nil
			}
			b, berr := r.Get("priv/b")
			n, nerr := strconv.Atoi(string(a))
			if err := errors.Join(err, berr, nerr); err != nil {
				return err
			}
			if !bytes.Equal(a, b) || n < acked {
				return fmt.Errorf("a = %s, b = %s, acknowledged %d", a, b, acked)
			}
			acked = n
			return nil
		})
		if err := errors.Join(err, d.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if acked == 0 {
		t.Error("no process came so far as to write")
	}
}

// writeForever counts up in two keys and acknowledges on standard output.
func writeForever(path string) {
	d, err := OpenBolt(path, BoltOptions{})
	for err == nil {
		n := 0
		err = d.Update(context.Background(), func(tx Tx) error {
			old, err := tx.Get("priv/a")
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			n, _ = strconv.Atoi(string(old))
			n++
			text := []byte(strconv.Itoa(n))
			return errors.Join(tx.Set("priv/a", text), tx.Set("priv/b", text))
		})
		if err == nil {
			fmt.Println(n)
		}
	}
	os.Exit(1)
}
