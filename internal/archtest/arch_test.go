// Package archtest holds the table of who may import whom.
package archtest

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed says which packages of ours a package may import. Tests are free.
var allowed = map[string][]string{
	"mailbox":             {},
	"compress":            {},
	"config":              {},
	"dovecotconf":         {"internal/durable", "userdb"},
	"dovecotindex":        {"internal/durable", "mailbox"},
	"filecrypt":           {"compress", "dcrypt", "internal/durable", "internal/secret"},
	"keycheck":            {"attrdict", "dcrypt", "dovecotindex", "index", "internal/durable", "keys", "mailbox", "storage", "storage/mdbox/mfile"},
	"message":             {},
	"quota":               {},
	"metadata":            {"attrdict", "mailbox"},
	"internal/secret":     {},
	"internal/gcmwide":    {},
	"internal/gcmstream":  {"internal/gcmwide"},
	"internal/sha256loop": {},
	"internal/bufpool":    {},
	"internal/p521":       {},
	"internal/recent":     {},
	"internal/durable":    {},
	"internal/crlf":       {},
	"internal/metrics":    {},
	"internal/deflate":    {},
	"internal/haproxy":    {},
	"internal/throttle":   {},
	"imapd/imapwire":      {"mailbox"},
	"imapd/imapurl":       {},
	"imapd/thread":        {},
	"internal/boltfile":   {},
	"internal/errline":    {},
	"attrdict":            {"internal/boltfile", "mailbox", "internal/durable"},
	"index":               {"internal/boltfile", "mailbox", "internal/durable"},
	"dcrypt":              {"internal/secret", "internal/bufpool", "internal/gcmstream", "internal/p521", "internal/recent", "internal/sha256loop"},
	"sealedcache":         {"dcrypt", "mailbox"},
	"keys":                {"internal/recent", "attrdict", "dcrypt", "mailbox", "internal/secret"},
	"userdb":              {"internal/secret", "internal/durable", "attrdict", "mailbox"},
	"storage":             {"mailbox", "compress", "dcrypt", "internal/bufpool", "internal/crlf"},
	"storage/control":     {"mailbox", "internal/durable"},
	"storage/maildir":     {"mailbox", "storage", "storage/control", "index", "internal/durable"},
	"storage/mdbox/mfile": {"internal/durable"},
	"storage/handover":    {"dovecotindex", "index", "internal/durable", "mailbox", "storage/control", "storage/mdbox", "storage/mdbox/mfile"},
	"storage/mdbox":       {"mailbox", "storage", "storage/control", "storage/mdbox/mfile", "index", "internal/durable"},
	"inspect":             {"attrdict", "compress", "dcrypt", "index", "internal/durable", "mailbox", "storage/maildir", "storage/mdbox/mfile"},
	"storage/storagetest": {"mailbox", "storage", "compress"},
	"account":             {"sealedcache", "metadata", "quota", "internal/durable", "storage", "storage/maildir", "storage/mdbox", "attrdict", "keys", "dcrypt", "compress", "mailbox", "userdb", "internal/secret", "index"},
	"imapd":               {"sealedcache", "metadata", "quota", "account", "mailbox", "storage", "keys", "message", "imapd/imapurl", "imapd/imapwire", "imapd/thread", "internal/secret", "internal/deflate", "internal/throttle"},
	"lmtpd":               {"internal/bufpool", "quota", "account", "mailbox", "storage", "keys", "internal/secret"},
	"admin":               {"account", "attrdict", "dcrypt", "keycheck", "keys", "storage", "userdb", "mailbox", "internal/crlf", "internal/secret", "storage/mdbox", "storage/handover"},
	"internal/system":     {"account", "admin", "compress", "config", "internal/durable", "lmtpd", "mailbox", "storage", "userdb"},
	"cmd/mailcryptd":      {"account", "admin", "config", "imapd", "internal/errline", "internal/haproxy", "internal/metrics", "internal/system", "lmtpd", "mailbox", "userdb"},
	"cmd/doveadm-crypt":   {"account", "admin", "attrdict", "compress", "config", "dcrypt", "dovecotconf", "filecrypt", "inspect", "internal/durable", "internal/errline", "internal/system", "keycheck", "keys", "userdb"},
	"acceptance":          {},
	"bench":               {},
	"acceptance/killat":   {},
	"imapd/difftest":      {},
	"imapd/resynctest":    {},
	"internal/teststore":  {},
	"internal/dovetest":   {},
	"internal/archtest":   {},
}

// walls are outside modules that one layer alone may know.
var walls = map[string][]string{
	"go.etcd.io/bbolt":            {"attrdict", "index"},
	"github.com/emersion/go-smtp": {"lmtpd"},
	"github.com/pires":            {"internal/haproxy"},
	"github.com/klauspost":        {"compress"},
	"github.com/pierrec":          {"compress"},
	"github.com/cloudflare/circl": {"dcrypt"},
	"filippo.io/nistec":           {"dcrypt"},
	// Their parsers have a history of quadratic time on hostile mail.
	"net/mail":       {},
	"mime/multipart": {},
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "mailcrypt/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, "mailcrypt/")
		may, ok := allowed[name]
		if !ok {
			t.Errorf("package %s is not in the table", name)
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, "mailcrypt/"); ok && !slices.Contains(may, own) {
				t.Errorf("%s imports %s", name, own)
			}
			for module, who := range walls {
				if (i == module || strings.HasPrefix(i, module+"/")) && !slices.Contains(who, name) {
					t.Errorf("%s imports %s", name, i)
				}
			}
		}
	}
	if seen < len(allowed)/2 {
		t.Errorf("only %d packages were looked at", seen)
	}
}
