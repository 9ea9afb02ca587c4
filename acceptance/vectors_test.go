package acceptance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/internal/teststore"
)

const vectors = "../testdata/vectors"

// A vector is a store that real Dovecot wrote, and what a reader must get.
type vector struct {
	Case           string
	Driver         string
	MailLocation   string `json:"mail_location"`
	Separator      string
	AttributesFile string `json:"attributes_file"`
	Damaged        bool
	WrongKeys      bool `json:"wrong_keys"`
	Crypt          struct {
		SaveVersion        any `json:"save_version"`
		Curve              any
		Protection         string
		PrivatePassword    string      `json:"mail_crypt_private_password"`
		PrivateKey         string      `json:"mail_crypt_private_key"`
		PrivateKeyPassword string      `json:"mail_crypt_private_key_password"`
		GlobalPublicKey    string      `json:"global_public_key"`
		GlobalPrivateKeys  []vectorKey `json:"global_private_keys"`
	}
	Users     []vectorUser
	StoreUser string `json:"store_user"`
	Originals map[string]map[string]struct{ SHA256 string }
	Variants  []vectorVariant

	dir string
}

type vectorKey struct {
	File, Password, Inline *string
}

type vectorUser struct {
	Name          string
	LoginPassword string `json:"login_password"`
	UserDB        map[string]string
	Home          string
	Mailboxes     []vectorMailbox
}

type vectorMailbox struct {
	Name        string
	IMAPName    string `json:"imap_name"`
	GUID        string
	UIDValidity int
	UIDNext     int
	Subscribed  bool
	Messages    []vectorMessage
}

type vectorMessage struct {
	UID          int
	Flags        []string
	Keywords     []string
	InternalDate string
	Received     int64 `json:"received_unix"`
	Size         int
	SHA256       string
	Damage       string
	Integrity    string
	OriginalSHA  string `json:"original_sha256"`
	Stored       string
}

type vectorVariant struct {
	Name            string
	UserDB          map[string]string
	Attributes      json.RawMessage // absent: as in the tar; null: removed; else a file
	GlobalPublicKey *string         `json:"global_public_key"`
	GlobalPrivate   []vectorKey     `json:"global_private_keys"`
	FetchInbox      vectorReply     `json:"fetch_inbox"`
	FetchSide       vectorReply     `json:"fetch_side"`
	AppendInbox     vectorReply     `json:"append_inbox"`
	AppendNewFolder vectorReply     `json:"append_new_folder"`
	FetchAppended   vectorReply     `json:"fetch_appended"`
}

type vectorReply struct{ Status, Class string }

// loadVectors reads the Maildir cases.
func loadVectors(t *testing.T, want func(*vector) bool) []*vector {
	t.Helper()
	return loadAllVectors(t, func(v *vector) bool { return v.Driver == "maildir" && want(v) })
}

// loadAllVectors reads cases.
func loadAllVectors(t *testing.T, want func(*vector) bool) []*vector {
	t.Helper()
	files, err := filepath.Glob(vectors + "/*/case.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", vectors, err)
	}
	var list []*vector
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		v := &vector{dir: filepath.Dir(f)}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if want(v) {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		t.Fatal("no vector is of the wanted kind")
	}
	return list
}

// keyFile gives a key of a case as a value of a user's field: base64 of the PEM.
func (v *vector) keyFile(t testing.TB, k vectorKey) string {
	t.Helper()
	if k.Inline != nil {
		return base64.StdEncoding.EncodeToString([]byte(*k.Inline))
	}
	return v.keyText(t, *k.File)
}

func (v *vector) keyText(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// globalFields are the user's fields of global keys.
func (v *vector) globalFields(t testing.TB, public string, private []vectorKey) string {
	var s string
	if public != "" {
		s += " mail_crypt_global_public_key=" + v.keyText(t, public)
	}
	for n, k := range private {
		suffix := ""
		if n > 0 {
			suffix = strconv.Itoa(n + 1)
		}
		s += fmt.Sprintf(" mail_crypt_global_private_key%s=%s", suffix, v.keyFile(t, k))
		if k.Password != nil {
			s += fmt.Sprintf(" mail_crypt_global_private_key%s_password=%s", suffix, *k.Password)
		}
	}
	return s
}

// saveVersion is the setting at the end; curve the curve, where there is one.
func (v *vector) settings() string {
	version := "0"
	switch x := v.Crypt.SaveVersion.(type) {
	case float64:
		version = strconv.Itoa(int(x))
	case string:
		version = x
	case []any:
		version = fmt.Sprint(x[len(x)-1])
	}
	s := " mail_crypt_save_version=" + version
	if c, ok := v.Crypt.Curve.(string); ok {
		s += " mail_crypt_curve=" + c
	}
	return s
}

// serve starts a daemon over the case in a scratch directory.
func (v *vector) serve(t testing.TB) *daemon {
	t.Helper()
	dir := scratch(t)
	teststore.Unpack(t, filepath.Join(v.dir, "store.tar.gz"), dir)
	own(t, dir)
	var users string
	for _, u := range v.Users {
		line := fmt.Sprintf("%s:{PLAIN}%s::::%s/%s::%s", u.Name, u.LoginPassword, dir, u.Home, v.settings())
		for k, val := range u.UserDB {
			line += fmt.Sprintf(" userdb_%s=%s", k, val)
		}
		if v.Crypt.PrivateKey != "" {
			line += " mail_crypt_private_key=" + v.keyText(t, v.Crypt.PrivateKey)
			if v.Crypt.PrivateKeyPassword != "" {
				line += " mail_crypt_private_key_password=" + v.Crypt.PrivateKeyPassword
			}
		}
		users += line + v.globalFields(t, v.Crypt.GlobalPublicKey, v.Crypt.GlobalPrivateKeys) + "\n"
	}
	return setup{
		dir: dir, users: users,
		top:   fmt.Sprintf("mail_location = %q\nmail_attribute_dict = \"file:~/%s\"\n", v.MailLocation, v.AttributesFile),
		crypt: "seal_rounds = 2048\n",
		rest:  fmt.Sprintf("[namespace]\nseparator = %q\n", v.Separator),
	}.start(t)
}

// TestVectors serves every intact Maildir case from its tar and compares all that a client
// can ask for.
func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t, func(v *vector) bool { return !v.Damaged && !v.WrongKeys }) {
		t.Run(v.Case, func(t *testing.T) {
			t.Parallel()
			d := v.serve(t)
			for _, u := range v.Users {
				c := login(t, d.imap, u.Name, u.LoginPassword)
				checked := 0
				for _, m := range u.Mailboxes {
					if strings.HasPrefix(m.Name, "shared.") || m.GUID == "" && len(m.Messages) == 0 {
						continue // the folder that another user shares is served by its owner
					}
					checked += checkMailbox(t, c, m)
				}
				if checked == 0 && len(u.Mailboxes) > 0 && u.Name != "bob" {
					t.Errorf("no message of user %s was compared", u.Name)
				}
			}
		})
	}
}

func checkMailbox(t *testing.T, c *imapConn, m vectorMailbox) int {
	t.Helper()
	a := c.do("EXAMINE %s", quote(m.IMAPName))
	if !a.ok() {
		t.Errorf("EXAMINE %s: %s", m.IMAPName, a.tagged)
		return 0
	}
	for _, want := range []string{fmt.Sprintf("UIDVALIDITY %d]", m.UIDValidity), fmt.Sprintf("UIDNEXT %d]", m.UIDNext)} {
		if !slices.ContainsFunc(a.untagged, func(u untagged) bool { return strings.Contains(u.line, want) }) {
			t.Errorf("%s: EXAMINE does not say %s", m.IMAPName, want)
		}
	}
	got := c.fetchAll(m.IMAPName)
	if len(got) != len(m.Messages) {
		t.Errorf("%s: %d messages, want %d", m.IMAPName, len(got), len(m.Messages))
	}
	for _, want := range m.Messages {
		checkMessage(t, m.IMAPName, got[want.UID], want)
	}
	return len(m.Messages)
}

func checkMessage(t *testing.T, mailbox string, got fetched, want vectorMessage) {
	t.Helper()
	where := fmt.Sprintf("%s: UID %d", mailbox, want.UID)
	if got.uid != want.UID || !got.haveBody {
		t.Errorf("%s: not there, or without its body", where)
		return
	}
	flags := slices.DeleteFunc(got.flags, func(f string) bool { return f == `\Recent` })
	wanted := append(slices.Clone(want.Flags), want.Keywords...)
	slices.Sort(flags)
	slices.Sort(wanted)
	if !slices.Equal(flags, wanted) {
		t.Errorf("%s: flags %v, want %v", where, flags, wanted)
	}
	if date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", got.date); err != nil || date.Unix() != want.Received {
		t.Errorf("%s: INTERNALDATE %q, want %s", where, got.date, want.InternalDate)
	}
	if got.size != want.Size || len(got.body) != want.Size {
		t.Errorf("%s: RFC822.SIZE %d and %d bytes, want %d", where, got.size, len(got.body), want.Size)
	}
	if s := sha(got.body); s != want.SHA256 {
		t.Errorf("%s: body has SHA-256 %s, want %s", where, s, want.SHA256)
	}
}

var namedUID = regexp.MustCompile(`\d+`)

// TestDamagedVectors serves the damaged cases: what must fail fails for that message alone,
// the session lives, and whatever needs no plaintext is answered.
func TestDamagedVectors(t *testing.T) {
	for _, v := range loadVectors(t, func(v *vector) bool { return v.Damaged }) {
		t.Run(v.Case, func(t *testing.T) {
			t.Parallel()
			d := v.serve(t)
			v.checkDamaged(t, d)
		})
	}
}

// checkDamaged looks at every message of a damaged case.
func (v *vector) checkDamaged(t *testing.T, d *daemon) {
	for _, u := range v.Users {
		c := login(t, d.imap, u.Name, u.LoginPassword)
		for _, m := range u.Mailboxes {
			c.do("EXAMINE %s", quote(m.IMAPName))
			a := c.do("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")
			got := a.fetches()
			failed := false
			for _, want := range m.Messages {
				f := got[want.UID]
				checkDamaged(t, f, want)
				failed = failed || !f.haveBody
				if f.haveBody {
					continue
				}
				if f.uid != want.UID || f.date == "" {
					t.Errorf("UID %d (%s): flags and date are not answered", want.UID, want.Damage)
				}
				if !slices.Contains(namedUID.FindAllString(a.tagged, -1), strconv.Itoa(want.UID)) {
					t.Errorf("UID %d (%s): the tagged answer does not name it: %s", want.UID, want.Damage, a.tagged)
				}
			}
			if failed && !strings.HasPrefix(a.tagged, "NO [UNAVAILABLE]") {
				t.Errorf("messages were left out, and the answer is %s", a.tagged)
			}
			if a := c.do("NOOP"); !a.ok() {
				t.Errorf("the session does not live: %s", a.tagged)
			}
		}
	}
}

func checkDamaged(t *testing.T, got fetched, want vectorMessage) {
	t.Helper()
	original := want.OriginalSHA
	if original == "" {
		original = want.SHA256
	}
	intact := got.haveBody && sha(got.body) == original
	switch want.Integrity {
	case "intact", "readable-with-the-keys-present":
		if !intact {
			t.Errorf("UID %d (%s) must be readable", want.UID, want.Damage)
		}
	case "must-fail":
		if got.haveBody {
			t.Errorf("UID %d (%s) was given out: %d bytes", want.UID, want.Damage, len(got.body))
		}
	case "unspecified":
		if got.haveBody && !intact {
			t.Errorf("UID %d (%s) was given out altered", want.UID, want.Damage)
		}
	case "undetectable", "undetectable-by-stream", "not-a-stream":
	default:
		t.Errorf("UID %d: unknown kind of damage %q", want.UID, want.Integrity)
	}
}

// TestWrongKeys serves stores with wrong secrets and with altered key records: what Dovecot
// can read there we can, nothing that it cannot is given out altered, the session lives,
// and what can be saved can be read again.
func TestWrongKeys(t *testing.T) {
	for _, v := range loadVectors(t, func(v *vector) bool { return v.WrongKeys }) {
		for _, w := range v.Variants {
			t.Run(v.Case+"/"+w.Name, func(t *testing.T) {
				t.Parallel()
				testVariant(t, v, w)
			})
		}
	}
}

func testVariant(t *testing.T, v *vector, w vectorVariant) {
	dir := scratch(t)
	teststore.Unpack(t, filepath.Join(v.dir, "store.tar.gz"), dir)
	own(t, dir)
	home := "user"
	attributes := filepath.Join(dir, home, v.AttributesFile)
	switch {
	case string(w.Attributes) == "null":
		os.Remove(attributes)
	case len(w.Attributes) > 0:
		var name string
		json.Unmarshal(w.Attributes, &name)
		b, err := os.ReadFile(filepath.Join(v.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, attributes, string(b))
	}
	line := fmt.Sprintf("user:{PLAIN}pass::::%s/%s::%s", dir, home, v.settings())
	for k, val := range w.UserDB {
		line += fmt.Sprintf(" %s=%s", k, val)
	}
	public := ""
	if w.GlobalPublicKey != nil {
		public = *w.GlobalPublicKey
	}
	line += v.globalFields(t, public, w.GlobalPrivate)
	d := setup{
		dir: dir, users: line + "\n",
		top:   fmt.Sprintf("mail_location = %q\nmail_attribute_dict = \"file:~/%s\"\n", v.MailLocation, v.AttributesFile),
		crypt: "seal_rounds = 2048\n",
	}.start(t)
	c := login(t, d.imap, "user", "pass")
	for mailbox, want := range map[string]vectorReply{"INBOX": w.FetchInbox, "Side": w.FetchSide} {
		if want.Status == "" {
			continue
		}
		c.do("EXAMINE %s", mailbox)
		a := c.do("UID FETCH 1 (UID FLAGS BODY.PEEK[])")
		f := a.fetches()[1]
		original := v.Originals[mailbox]["1"].SHA256
		switch {
		case f.haveBody && sha(f.body) != original:
			t.Errorf("%s: message 1 was given out altered", mailbox)
		case want.Status == "OK" && !f.haveBody:
			t.Errorf("%s: message 1 is not readable: %s", mailbox, a.tagged)
		case !f.haveBody && f.uid != 1:
			t.Errorf("%s: flags of message 1 are not answered", mailbox)
		case want.Status != "OK" && f.haveBody && w.Name != "encrypted-pem-no-password":
			t.Logf("%s: readable, though not for Dovecot (%s)", mailbox, want.Class)
		}
		if a := c.do("NOOP"); !a.ok() {
			t.Errorf("the session does not live: %s", a.tagged)
		}
	}
	message := []byte("Subject: new\r\n\r\nbody\r\n")
	a := c.appendMail("INBOX", "", message)
	if w.AppendInbox.Status == "OK" && !a.ok() {
		t.Errorf("APPEND: %s", a.tagged)
	}
	if !a.ok() {
		if !strings.HasPrefix(a.tagged, "NO") {
			t.Errorf("APPEND: %s", a.tagged)
		}
		return
	}
	// Whoever can save and holds the password must be able to read it again.
	if pw := w.UserDB["mail_crypt_private_password"]; pw == "right-horse" && w.Name != "user-private-key-ciphertext" || w.FetchAppended.Status == "OK" {
		found := false
		c.do("EXAMINE INBOX")
		for _, f := range c.do("UID FETCH 1:* (UID BODY.PEEK[])").fetches() {
			found = found || string(f.body) == string(message)
		}
		if !found {
			t.Error("what was appended cannot be read again")
		}
	}
}
