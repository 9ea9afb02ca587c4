package mdbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"
)

// On a full disk nothing can be saved, what is there can be read and expunged, and flags can
// be changed; once there is room again, all goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("needs the right to mount a small file system: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	h, err := Open(t.Context(), Location{Root: filepath.Join(dir, "mdbox")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := h.OpenMailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var uids []mailbox.UID
	for range 200 {
		uids = append(uids, mustSave(t, in, "Subject: x\n\n"+strings.Repeat("x", 2000)))
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; size /= 2 {
		for err = error(nil); err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	for n := range 5 {
		if _, err := trySave(in, strings.Repeat("x", 9000), mailbox.SaveInfo{}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("saving: %v", err)
		}
		if _, err := readText(in, uids[100]); err != nil {
			t.Errorf("reading: %v", err)
		}
		if _, err := in.SetFlags(t.Context(), uids[100:150], mailbox.FlagChange{Op: mailbox.FlagOp(n % 2), Flags: mailbox.Flags{System: mailbox.Seen}}); err != nil {
			t.Errorf("flags: %v", err)
		}
		if err := in.Expunge(t.Context(), uids[n*10:n*10+10]); err != nil {
			t.Errorf("expunging: %v", err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	mustSave(t, in, "Subject: there is room\n\n")
	if n := in.View().Len(); n != 151 {
		t.Errorf("%d messages, want 151", n)
	}
	checkStore(t, h)
	if err := errors.Join(in.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}
