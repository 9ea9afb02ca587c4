package acceptance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailcrypt/storage/storagetest"
)

// A vault is the secrets of a test, in every form in which they could come to light.
type vault struct {
	mu    sync.Mutex
	forms map[string]string // what to look for, and what it is
}

// password makes a secret that is nowhere by chance.
func (v *vault) password(what string) string {
	p := "pw" + strings.ToLower(rand.Text())
	v.add(what, []byte(p))
	return p
}

// add takes in a secret: as it is, in hex and in base64 at each of its three phases.
func (v *vault) add(what string, secret []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forms[string(secret)] = what
	v.forms[hex.EncodeToString(secret)] = what + " in hex"
	for phase := range 3 {
		b := base64.StdEncoding.EncodeToString(append(make([]byte, phase), secret...))
		if b = b[4*((phase+2)/3) : len(b)-4]; len(b) >= 12 {
			v.forms[b] = what + " in base64"
		}
	}
}

// addPEM takes in a private key: its text, and its number.
func (v *vault) addPEM(t *testing.T, text string) {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM is exported")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	number, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	v.add("the number of a private key", number)
	// The first line of the text is the same for all keys of a curve.
	if lines := strings.Split(text, "\n"); len(lines) > 3 {
		v.add("the text of a private key", []byte(lines[2]))
	}
}

// find says which secret is in some bytes.
func (v *vault) find(b []byte) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for form, what := range v.forms {
		if bytes.Contains(b, []byte(form)) {
			return what
		}
	}
	return ""
}

// watch looks at the command lines and environments of our programs until it is stopped.
func (v *vault) watch(t *testing.T) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	seen := map[string]bool{}
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(2 * time.Millisecond):
			}
			list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, p := range list {
				line, _ := os.ReadFile(p)
				if !bytes.HasPrefix(line, []byte(bin)) {
					continue
				}
				environ, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
				seen[filepath.Base(strings.SplitN(string(line), "\x00", 2)[0])] = true
				if what := v.find(slices.Concat(line, environ)); what != "" {
					t.Errorf("%s is in the process list: %s", what, bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
				}
			}
		}
	}()
	return func() {
		close(end)
		<-done
		if !seen["mailcryptd"] || !seen["doveadm-crypt"] {
			t.Errorf("only %v were seen running", seen)
		}
	}
}

// search looks into every file below a directory.
func (v *vault) search(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if what := v.find(b); what != "" {
			t.Errorf("%s is in %s", what, p)
		}
		n++
		return err
	})
	if err != nil || n < 10 {
		t.Errorf("%d files were looked at: %v", n, err)
	}
}

// A secretive is the world of TestSecrets.
type secretive struct {
	*daemon
	t          *testing.T
	v          *vault
	said       bytes.Buffer // whatever the tool has said that was to be no secret
	in         string       // directory of secrets that are given by file
	alice, bob string       // passwords
}

// tell runs the tool with debug logging; what it says is looked at in the end.
func (s *secretive) tell(stdin, args string) (stdout string, status int) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-D", "-c", s.config}, strings.Fields(args)...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = credential()
	cmd.Dir = s.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(&s.said, "%s\n%s", args, errs.Bytes())
	if !strings.Contains(args, "--clear") && !strings.HasPrefix(args, "mailbox cryptokey export") {
		s.said.Write(out.Bytes())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (s *secretive) must(stdin, args string) string {
	s.t.Helper()
	out, status := s.tell(stdin, args)
	if status != 0 {
		s.t.Errorf("%s: status %d\n%s", args, status, tail(s.said.String(), 400))
	}
	return out
}

func (s *secretive) refused(stdin, args string) {
	s.t.Helper()
	if _, status := s.tell(stdin, args); status == 0 {
		s.t.Errorf("%s: it is done", args)
	}
}

func (s *secretive) secret(name, text string) string {
	return writeFile(s.t, filepath.Join(s.in, name), text)
}

// TestSecrets goes through all operations on keys, with the daemon and without, with debug
// logging, rightly and wrongly, and looks for passwords, private keys and mail in process
// lists, logs, messages, and every file.
func TestSecrets(t *testing.T) {
	for _, dict := range []string{boltDict, fileDict} {
		t.Run(dict[:4], func(t *testing.T) {
			dir, in := scratch(t), scratch(t)
			tmp := filepath.Join(dir, "tmp")
			os.Mkdir(tmp, 0o700)
			own(t, dir)
			t.Setenv("TMPDIR", tmp)
			s := &secretive{t: t, v: &vault{forms: map[string]string{}}, in: in}
			s.daemon = setup{
				dir: dir, users: "", top: fmt.Sprintf("mail_attribute_dict = %q\n", dict),
				crypt: "save_version = 2\ncurve = \"prime256v1\"\nprivate_password = \"%{password}\"\nseal_rounds = 1\n",
			}.configure(t)
			s.alice, s.bob = s.v.password("alice's password"), s.v.password("bob's password")
			s.must(s.alice+"\n", "user add alice")
			s.must(s.bob+"\n", "user add bob")
			s.start(t)
			s.dialAdmin(t)
			stop := s.v.watch(t)
			canary := s.mail()
			s.keys()
			s.mistakes()
			s.stop(t)
			s.keys()
			s.mistakes()
			stop()
			s.v.search(t, dir)
			canary.Check(t, dir)
			for name, text := range map[string]string{"the log": s.log.String(), "what the tool said": s.said.String()} {
				if what := s.v.find([]byte(text)); what != "" {
					t.Errorf("%s is in %s", what, name)
				}
				if word := canary.Find([]byte(text)); word != "" {
					t.Errorf("a word of a message is in %s: %s", name, word)
				}
			}
			if !strings.Contains(s.log.String(), "level=DEBUG") && !strings.Contains(s.log.String(), "level=INFO") {
				t.Error("nothing was logged")
			}
		})
	}
}

// mail saves and reads messages, and fails to log in.
func (s *secretive) mail() *storagetest.Canary {
	s.t.Helper()
	c := login(s.t, s.imap, "alice", s.alice)
	canary := storagetest.NewCanary()
	if a := c.appendMail("INBOX", "", canary.Message()); !a.ok() {
		s.t.Error(a.tagged)
	}
	if _, err := deliverLMTP(s.lmtp, "s@example.org", []string{"alice"}, canary.Message()); err != nil {
		s.t.Error(err)
	}
	c.do("SELECT INBOX")
	c.do("FETCH 1:* (ENVELOPE BODY.PEEK[])")
	c.do("SEARCH SUBJECT %s", canary.Words()[0])
	c.do("FETCH 1 (BODY[9999.7.TEXT]<0.%s>)", canary.Words()[0]) // a mistake, told to the client
	c.close()
	login(s.t, s.imap, "bob", s.bob).close()
	c = dialIMAP(s.t, s.imap)
	c.do("LOGIN alice %s", s.v.password("a wrong password"))
	c.close()
	return canary
}

// keys takes alice's keys through their life.
func (s *secretive) keys() {
	t := s.t
	t.Helper()
	pw := s.secret("alice", s.alice+"\n")
	out := s.must("", "cryptokey export -u alice --clear --key-format pem --password-file "+pw)
	var exported struct {
		Keys []struct{ Private []byte }
	}
	if err := json.Unmarshal([]byte(out), &exported); err != nil || len(exported.Keys) < 2 {
		t.Fatalf("%d keys are exported, %v", len(exported.Keys), err)
	}
	for _, k := range exported.Keys {
		s.v.addPEM(t, string(k.Private))
	}
	clear := s.secret("keys.json", out)
	s.must("", "cryptokey import -u bob "+clear+" --password-file "+s.secret("bob", s.bob+"\n"))
	s.must("", "mailbox cryptokey export -u alice INBOX --password-file "+pw)
	s.must("", "cryptokey export -u alice")
	s.must("", "cryptokey list -u alice --count --format json")
	s.must(s.alice+"\n", "cryptokey check -u alice --open")
	s.must(s.alice+"\n", "cryptokey generate -u alice -U --force --rewrap")
	s.must("", "cryptokey generate -u alice --force INBOX")
	s.must("", "cryptokey retire -u alice --unneeded")
	next := s.v.password("alice's next password")
	s.must(s.alice+"\n"+next+"\n", "user password -u alice --keep-old 1h")
	s.alice = next
	next = s.v.password("a raw secret")
	s.must(s.alice+"\n", "cryptokey password -u alice --keep-old 1h --new-password-file "+s.secret("raw", s.alice+"\n"))
	token := s.must(s.alice+"\n"+next+"\n", "cryptokey password -u alice --prepare")
	_, token, _ = strings.Cut(token, "token: ")
	s.must("", "cryptokey commit -u alice --abandon "+strings.TrimSpace(token))
	s.must("", "cryptokey check -u alice")
}

// mistakes gives secrets where they are wrong, of the wrong kind, or damaged.
func (s *secretive) mistakes() {
	s.t.Helper()
	wrong := s.v.password("a wrong password")
	s.refused(wrong+"\n", "cryptokey rewrap -u alice")
	s.refused(wrong+"\n"+wrong+"\n", "user password -u alice")
	s.refused(wrong+"\n"+wrong+"\n", "cryptokey password -u alice --raw")
	s.refused("", "cryptokey export -u alice --clear --password-file "+s.secret("wrong", wrong+"\n"))
	text, err := os.ReadFile(filepath.Join(s.in, "keys.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.refused("", "cryptokey import -u bob "+s.secret("damaged.json", strings.ReplaceAll(string(text), "LS0tLS1", "LS0tLS0")))
	s.refused("", "cryptokey import -u bob "+s.secret("cut.json", string(text[:len(text)/2])))
	s.refused("", "cryptokey import -u bob "+s.secret("wrong.json", wrong))
	s.refused(wrong+"\n", "cryptokey password -u alice --key-file "+s.secret("damaged.pem", "-----BEGIN PRIVATE KEY-----\n"+wrong+"\n-----END PRIVATE KEY-----\n"))
	s.refused("", "cryptokey rewrap -u alice --key-file "+s.secret("nonsense", wrong))
	// A password of more octets than a hash takes, and one in the place of an option.
	s.refused(strings.Repeat(wrong, 300)+"\n", "user add carol")
	s.refused(strings.Repeat(wrong, 4)+"\n", "user add carol --scheme BLF-CRYPT")
}

// TestSecretsOfTheCommandLine: Dovecot's options put secrets into the process list. They are
// gone from it as soon as the program has begun.
func TestSecretsOfTheCommandLine(t *testing.T) {
	s := newTroubled(t, boltDict)
	for _, args := range [][]string{
		{"mailbox", "cryptokey", "password", "-u", "alice", "-o", "SECRET"},
		{"cryptokey", "password", "-u", "alice", "--old-password=SECRET"},
		{"-o", "plugin/mail_crypt_private_password=SECRET", "cryptokey", "password", "-u", "alice", "-O"},
	} {
		v := &vault{forms: map[string]string{}}
		secret := v.password("the secret")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "SECRET", secret)
		}
		cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", s.config}, args...)...)
		cmd.SysProcAttr = credential()
		stdin, err := cmd.StdinPipe() // it waits there for another password
		try(t, err)
		stderr, err := cmd.StderrPipe()
		try(t, err, cmd.Start())
		warning := make([]byte, 8)
		if _, err := io.ReadFull(stderr, warning); err != nil || string(warning) != "warning:" {
			t.Errorf("it says %q, %v", warning, err)
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if what := v.find(line); what != "" || err != nil || !bytes.Contains(line, []byte("****")) {
			t.Errorf("the process list has %q, %v", line, err)
		}
		stdin.Close()
		rest, _ := io.ReadAll(stderr)
		cmd.Wait()
		if what := v.find(rest); what != "" {
			t.Errorf("%s is in what it says: %s", what, rest)
		}
	}
}

// TestNoCore kills both programs in the way that leaves a core file, with keys open, and lets
// a debugger of the same user try to take one.
func TestNoCore(t *testing.T) {
	t.Setenv("GOTRACEBACK", "crash")
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGQUIT} {
		s := newTroubled(t, boltDict)
		s.move(t)
		s.daemon.start(t)
		c := login(t, s.imap, "alice", "old")
		defer c.close()
		waiting := exec.Command(filepath.Join(bin, "doveadm-crypt"), "-c", s.config, "-o", "plugin/mail_crypt_private_password=x", "cryptokey", "password", "-u", "alice", "-O")
		waiting.SysProcAttr, waiting.Dir = credential(), s.dir
		var said logBuffer
		waiting.Stderr = &said
		stdin, err := waiting.StdinPipe()
		try(t, err, waiting.Start())
		for end := time.Now().Add(20 * time.Second); said.String() == "" && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
		for _, p := range []*os.Process{s.cmd.Process, waiting.Process} {
			s.mustNotDump(t, p.Pid)
		}
		for _, cmd := range []*exec.Cmd{s.cmd, waiting} {
			cmd.Process.Signal(signal)
		}
		waiting.Wait()
		<-s.exited
		stdin.Close()
		for _, cmd := range []*exec.Cmd{s.cmd, waiting} {
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.CoreDump() || cmd.ProcessState.Success() {
				t.Errorf("%v of %s: %v", signal, cmd.Args[0], cmd.ProcessState)
			}
		}
		if list, _ := filepath.Glob(filepath.Join(s.dir, "core*")); len(list) > 0 {
			t.Errorf("%v: %v", signal, list)
		}
	}
}

// mustNotDump: no other process of the user, root apart, gets at the memory.
func (s *troubled) mustNotDump(t *testing.T, pid int) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
		t.Errorf("process %d may write a core file: %v", pid, err)
	}
	for _, command := range [][]string{
		{"gcore", "-o", filepath.Join(s.dir, "core"), fmt.Sprint(pid)},
		{"cat", fmt.Sprintf("/proc/%d/environ", pid)},
		{"dd", "count=1", fmt.Sprintf("if=/proc/%d/mem", pid)},
	} {
		path, err := exec.LookPath(command[0])
		if err != nil {
			t.Log(err) // there are two more ways
			continue
		}
		cmd := exec.Command(path, command[1:]...)
		cmd.SysProcAttr = credential()
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%v: %s", command, tail(string(out), 500))
		}
	}
}
