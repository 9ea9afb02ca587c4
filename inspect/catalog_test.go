package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/index"
	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
	"mailcrypt/storage/mdbox"
)

// TestCatalog looks at the catalog of an mdbox, while it is open and after.
func TestCatalog(t *testing.T) {
	root := filepath.Join(t.TempDir(), "mdbox")
	h, err := mdbox.Open(t.Context(), mdbox.Location{Root: root}, mdbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Create(t.Context(), "Sent"); err != nil {
		t.Fatal(err)
	}
	guid, err := h.GUID(t.Context(), "Sent")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "storage", index.CatalogName)
	if info, text := look(t, path, Options{}); info.Kind != Catalog || !info.Damaged() || !strings.Contains(text, "look at a copy, or stop the daemon") {
		t.Errorf("while it is open: %s", text)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	info, text := look(t, path, Options{})
	if want := fmt.Sprintf("  Sent: GUID %s, UIDVALIDITY ", guid); info.Damaged() || !strings.Contains(text, want) || !strings.Contains(text, "0 stored messages in 0 files") {
		t.Errorf("%s", text)
	}
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if info, text = look(t, path, Options{}); info.Kind != Catalog || !info.Damaged() {
		t.Errorf("damaged: %s", text)
	}
}

// TestSealed knows a sealed cache by what it begins with, also one that is cut.
func TestSealed(t *testing.T) {
	guid := mailbox.NewGUID()
	path := filepath.Join(t.TempDir(), sealedcache.FileName(guid))
	head := append([]byte(sealedMagic), guid[:]...)
	for cut, want := range map[int]string{len(head): "sealed, 24 bytes\n  of the mailbox with GUID " + guid.String(), 12: "sealed, 12 bytes"} {
		if err := os.WriteFile(path, head[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if info, text := look(t, path, Options{}); info.Kind != Sealed || !strings.Contains(text, want) {
			t.Errorf("%s", text)
		}
	}
}
