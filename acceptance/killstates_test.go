package acceptance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcrypt/attrdict"
)

// killStates are the states that operations begin in, made when they are needed.
type killStates struct {
	*killWorld
	made    map[string]map[string][]byte // the messages of each state
	counted []string                     // changes of the last run
	// alsoLook and afterRound are further checks, or nil: of a store that is being served,
	// where an operation was acknowledged or not, and of what a kill had left behind, which
	// has been kept as the state "killed".
	alsoLook   func(t *testing.T, w *killStates, acked bool) error
	afterRound func(t *testing.T, op killOperation, p killPoint, acked bool)
}

// The openers of the operations.
var s0, s1 = secretOf("s0-old"), secretOf("s1-new")

// A killState is made from another one, while the daemon does not run.
type killState struct {
	from string
	make func(t *testing.T, w *killStates)
}

// killStateTable says how each state comes about.
func killStateTable() map[string]killState {
	return map[string]killState{
		"fresh": {"", func(t *testing.T, w *killStates) { w.become(t, s0) }},
		// Two folders, one user key.
		"one": {"fresh", func(t *testing.T, w *killStates) {
			w.session(t, s0, func(c *imapConn) {
				w.append(t, c, "INBOX", "inbox-1")
				c.do("CREATE Box")
				w.append(t, c, "Box", "box-1")
			})
		}},
		// Two user keys, a folder key that hangs on the second.
		"several": {"one", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "generate", "-u", "u", "--user-key", "--force")
			w.session(t, s0, func(c *imapConn) {
				c.do("CREATE Late")
				w.append(t, c, "Late", "late-1")
			})
		}},
		"open": {"several", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "password", "-u", "u", "-o", "s0-old", "-C")
		}},
		"bykey": {"several", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "password", "-u", "u", "-o", "s0-old", "--to-key-file", w.vars["PUBLIC"])
		}},
		"kept": {"several", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "password", "-u", "u", "-o", "s0-old", "-n", "s1-new", "--keep-old", "1h")
		}},
		"prepared": {"several", func(t *testing.T, w *killStates) {
			out := w.run(t, "", "cryptokey", "password", "-u", "u", "-o", "s0-old", "-n", "s1-new", "--prepare")
			_, token, _ := strings.Cut(out, "token: ")
			w.vars["TOKEN"] = strings.TrimSpace(token)
		}},
		// Folder keys that no mail needs any more, and that were active long ago.
		"unneeded": {"several", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "generate", "-u", "u", "--force", "Late")
			w.session(t, s0, func(c *imapConn) {
				c.do("SELECT Late")
				c.do("UID STORE 1 +FLAGS (\\Deleted)")
				c.do("EXPUNGE")
				delete(w.mails, "late-1")
				w.append(t, c, "Late", "late-2")
			})
			w.longAgo(t)
		}},
		// A folder key that one message needs, and the code that destroys it all the same.
		"doomed": {"several", func(t *testing.T, w *killStates) {
			w.run(t, "", "cryptokey", "generate", "-u", "u", "--force", "Box")
			w.longAgo(t)
			ids := regexp.MustCompile(`(?m)^Box\s+no\s+([0-9a-f]{64})`).FindStringSubmatch(w.run(t, "", "cryptokey", "list", "-u", "u"))
			if ids == nil {
				t.Fatal("no old key of Box is listed:", w.run(t, "", "cryptokey", "list", "-u", "u"))
			}
			out, _ := w.mine(t, nil, "", "cryptokey", "retire", "-u", "u", ids[1])
			code := regexp.MustCompile(`--confirm ([0-9a-f]+)`).FindStringSubmatch(out)
			if code == nil {
				t.Fatal("no code:", out)
			}
			w.vars["DOOMED"], w.vars["CODE"] = ids[1], code[1]
		}},
		// The dictionary is lost, its keys were exported, and new ones have been made.
		"bereft": {"several", func(t *testing.T, w *killStates) {
			for name, args := range map[string][]string{"SEALED": nil, "CLEAR": append([]string{"--clear"}, s0.options...)} {
				args = append([]string{"cryptokey", "export", "-u", "u"}, args...)
				out := w.run(t, s0.stdin, args...)
				w.vars[name] = writeFile(t, filepath.Join(filepath.Dir(w.arm), name), out[strings.Index(out, "{"):])
			}
			for _, name := range []string{"u/keys.db", "u/Maildir/dovecot-attributes"} {
				os.Remove(filepath.Join(w.dir, name))
			}
			w.session(t, s0, func(c *imapConn) { w.append(t, c, "INBOX", "inbox-2") })
		}},
		// Mail that came before the first login.
		"unsealed": {"fresh", func(t *testing.T, w *killStates) {
			w.become(t, unsealedFirst())
			w.serve(t)
			w.mails["early"] = mail("early", 500)
			if err := delivered("early")(t, w.killWorld); err != nil {
				t.Fatal(err)
			}
			w.stop(t)
		}},
		"foisted": {"several", func(t *testing.T, w *killStates) { w.foist(t) }},
		// The password of the login seals the keys.
		"byLogin": {"fresh", func(t *testing.T, w *killStates) {
			writeFile(t, filepath.Join(w.dir, "users"), "u:{PLAIN}p0::::::mail_crypt_save_version=2 userdb_mail_crypt_private_password=%{password}\n")
			w.session(t, opener{password: "p0"}, func(c *imapConn) { w.append(t, c, "INBOX", "inbox-1") })
		}},
	}
}

// need makes a state, and takes its messages as those that there are.
func (w *killStates) need(t *testing.T, name string) {
	t.Helper()
	w.makeKeyFiles(t)
	if _, ok := w.made[name]; !ok {
		state, ok := killStateTable()[name]
		if !ok {
			state, ok = mdboxStateTable()[name]
		}
		if !ok {
			t.Fatalf("no state %q", name)
		}
		w.mails = map[string][]byte{}
		if state.from != "" {
			w.need(t, state.from)
			w.restore(t, state.from)
		}
		state.make(t, w)
		w.save(t, name)
		w.made[name] = w.mails
	}
	w.mails = maps.Clone(w.made[name])
}

// session has a client do something.
func (w *killStates) session(t *testing.T, who opener, do func(c *imapConn)) {
	t.Helper()
	w.become(t, who)
	w.serve(t)
	c := login(t, w.imap, "u", who.password)
	do(c)
	c.close()
	w.stop(t)
}

// run runs the tool, which must succeed.
func (w *killStates) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, status := w.mine(t, nil, stdin, args...)
	if status != 0 {
		t.Fatalf("%s: status %d: %s", strings.Join(args, " "), status, out)
	}
	return out
}

// longAgo makes keys that are active no more so since long.
func (w *killStates) longAgo(t *testing.T) {
	t.Helper()
	d, err := attrdict.Open(w.dictURI, filepath.Join(w.dir, "u"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := backdateRotated(d); err != nil {
		t.Fatal(err)
	}
	own(t, w.dir)
}

// makeKeyFiles makes the pair of keys that user keys are sealed to.
func (w *killStates) makeKeyFiles(t *testing.T) {
	t.Helper()
	if w.vars["PUBLIC"] != "" {
		return
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	w.vars["PRIVATE"] = writeFile(t, filepath.Join(filepath.Dir(w.arm), "private.pem"), text)
	w.vars["PUBLIC"] = writeFile(t, filepath.Join(filepath.Dir(w.arm), "public.pem"),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	w.vars["FIELD"] = "userdb_mail_crypt_private_key=" + base64.StdEncoding.EncodeToString([]byte(text))
}
