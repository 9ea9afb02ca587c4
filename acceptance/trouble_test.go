package acceptance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A troubleCommand is a command line, and what it needs, in letters: (s)ecret that opens
// keys, (r)eading of the dictionary, (w)riting of it, (u)ser database, (U) to be written,
// the (a)dmin socket where there is one, the (d)aemon in any case.
type troubleCommand struct{ needs, args, stdin string }

func (c troubleCommand) meets(needs string) bool { return strings.ContainsAny(c.needs, needs) }

var troubleCommands = []troubleCommand{
	{"ura", "cryptokey list -u alice", ""},
	{"ura", "cryptokey list -u alice --count", ""},
	{"urwa", "cryptokey generate -u alice --force INBOX", ""},
	{"urwas", "cryptokey generate -u alice -U --force", "old\n"},
	{"urwas", "cryptokey rewrap -u alice", "old\n"},
	{"ura", "cryptokey export -u alice", ""},
	{"uras", "cryptokey export -u alice --clear", "old\n"},
	{"urwa", "cryptokey import -u alice --password-file DIR/old DIR/exported", ""},
	{"urwa", "cryptokey retire -u carol --unneeded", ""},
	{"ura", "cryptokey check -u alice", ""},
	{"uras", "cryptokey check -u alice --open", "old\n"},
	{"urwas", "cryptokey password -u alice", "old\nnew\n"},
	{"urwas", "cryptokey password -u alice --prepare", "old\nnew\n"},
	{"urwa", "cryptokey commit -u alice TOKEN", ""},
	{"urwa", "cryptokey undo -u alice", ""},
	{"ura", "mailbox cryptokey list -u alice -U", ""},
	{"urwa", "mailbox cryptokey generate -u alice -f INBOX", ""},
	{"uras", "mailbox cryptokey export -u alice INBOX", "old\n"},
	{"urwas", "mailbox cryptokey password -u alice -o old -n new", ""},
	{"u", "user alice", ""},
	{"ua", "user *", ""},
	{"uU", "user add dave", "pw\n"},
	{"urwUas", "user password -u alice", "old\nnew\n"},
	{"uU", "user delete alice --yes", ""},
	{"da", "who", ""},
	{"da", "kick alice", ""},
	{"da", "status", ""},
}

// A trouble is something wrong, which commands meet it, and what they say then.
type trouble struct {
	name   string
	cause  func(t *testing.T, s *troubled)
	needs  string            // who needs one of these meets it
	edit   *strings.Replacer // of arguments and stdin
	status int               // of those who meet it
	also   map[string]int    // exit statuses of others, by the beginning of their arguments
	says   string            // pattern of the line
	dicts  []string          // nil is both
	slow   bool              // the commands wait, so each gets a store of its own at once
	real   bool              // ask a daemon too
	skip   func(c troubleCommand) bool
	// mayWork is the dictionary of which a small change may find room on a full disk.
	mayWork string
}

var troubles = []trouble{
	{name: "wrong secret", needs: "s", status: 65, says: `wrong password.*; |do not open with what was given: try another password`, real: true,
		edit: strings.NewReplacer("old", "wrong")},
	{name: "unknown user", needs: "u", status: 67, says: `^no such user: zoe; .*user '\*'`, real: true,
		edit: strings.NewReplacer("alice", "zoe", "carol", "zoe"),
		skip: func(c troubleCommand) bool {
			return strings.HasPrefix(c.args, "user *") || strings.HasPrefix(c.args, "user add")
		}},
	{name: "user without keys", needs: "", says: `no such key: .*; |a password is needed: .*; |not pending any more: .*; `, real: true,
		edit: strings.NewReplacer("alice", "bob", "carol", "bob"),
		also: map[string]int{"cryptokey generate -u alice --force": 65, "cryptokey rewrap": 68, "cryptokey export": 68,
			"cryptokey commit": 65, "cryptokey undo": 68, "mailbox cryptokey generate": 65}},
	{name: "read-only disk", needs: "raU", status: 75, says: `read-only.*; mount it for writing|no daemon answers`, cause: readOnly,
		also: map[string]int{"who": 69, "kick": 69, "status": 69}},
	{name: "full disk", needs: "wU", status: 75, says: `(no space left on device|the disk is full).*; make room`, real: true,
		cause: func(t *testing.T, s *troubled) { fill(t, s.dir, 0) }, mayWork: boltDict},
	{name: "dictionary locked", needs: "r", status: 75, says: `the dictionary is locked: .*/alice/keys\.db; do it again in a moment`,
		dicts: []string{boltDict}, slow: true, cause: lockBolt, skip: aboutCarol},
	{name: "dictionary locked by Dovecot", needs: "w", status: 75, says: `the dictionary is locked: .*/alice/dovecot-attributes.*; do it again in a moment`,
		dicts: []string{fileDict}, slow: true, cause: lockFileDict, skip: aboutCarol},
	{name: "another process owns the store", needs: "r", status: 75, slow: true,
		says:  `another mailcryptd or doveadm-crypt, process \d+, is at work in state_dir .*/state; do it again`,
		cause: func(t *testing.T, s *troubled) { holdLock(t, filepath.Join(s.dir, "state", "instance.lock")) }},
	{name: "dictionary of another owner", needs: "r", status: 75, says: `no permission: .*homes/(alice|carol)/.*; run it as root or as the owner`, real: true,
		cause: onDicts(func(p string) error { return os.Chmod(p, 0) })},
	{name: "home of another owner", needs: "r", status: 75, says: `no permission: .*homes/alice.*; run it as root or as the owner`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Chmod(filepath.Join(s.dir, "homes", "alice"), 0)) }, skip: aboutCarol},
	{name: "state directory of another owner", needs: "ra", status: 75, says: `no permission: .*/state.*; run it as root or as the owner`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Chmod(filepath.Join(s.dir, "state"), 0)) }},
	{name: "user database of another owner", needs: "u", status: 78, says: `\[userdb\] passwd_file: .*/users: permission denied; run it as root or as the owner`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Chmod(filepath.Join(s.dir, "users"), 0)) }},
	{name: "no user database", needs: "u", status: 78, says: `\[userdb\] passwd_file: .*/users: no such file or directory; .* make what it names`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Remove(filepath.Join(s.dir, "users"))) }},
	{name: "no configuration", needs: "uad", status: 78, says: `^.*/mailcryptd.toml: no such file or directory; name the configuration with -c`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Remove(s.config)) }},
	{name: "configuration of another owner", needs: "uad", status: 78, says: `^.*/mailcryptd.toml: permission denied; run it as root`,
		cause: func(t *testing.T, s *troubled) { try(t, os.Chmod(s.config, 0)) }},
	{name: "configuration that is no TOML", needs: "uad", status: 78, says: `^.*/mailcryptd.toml:1: array is incomplete`,
		cause: func(t *testing.T, s *troubled) { try(t, os.WriteFile(s.config, []byte("mail_home = [\n"), 0o600)) }},
	{name: "misspelt setting", needs: "uad", status: 78, says: `^.*/mailcryptd.toml:\d+: \[mail_crypt\] curv: unknown setting; did you mean curve\?`,
		cause: func(t *testing.T, s *troubled) {
			text, err := os.ReadFile(s.config)
			try(t, err, os.WriteFile(s.config, []byte(strings.Replace(string(text), "curve", "curv", 1)), 0o600))
		}},
	{name: "dictionary overwritten with NULs", needs: "r", status: 65, says: `the dictionary is damaged: .*homes/(alice|carol)/.*; restore the dictionary from a backup`, real: true,
		cause: onDicts(func(p string) error { return os.WriteFile(p, make([]byte, 40_000), 0o600) })},
	{name: "dictionary cut short", needs: "r", status: 65, says: `the dictionary is damaged: .*homes/(alice|carol)/.*; restore the dictionary from a backup`,
		dicts: []string{boltDict}, cause: onDicts(func(p string) error { return os.Truncate(p, 20_000) })},
	{name: "a directory in the place of the dictionary", needs: "r", status: 65, says: `the dictionary is damaged: .*is not a regular file`,
		cause: onDicts(func(p string) error { return firstError(os.Remove(p), os.Mkdir(p, 0o755)) })},
}

// TestTroubles lets every command meet every trouble that it can meet. Each gets one line
// that says what is wrong and what to do, the exit status that the manual names, and
// nothing is changed.
func TestTroubles(t *testing.T) {
	for _, dict := range []string{boltDict, fileDict} {
		made := newTroubled(t, dict)
		for _, tr := range troubles {
			if tr.dicts != nil && tr.dicts[0] != dict {
				continue
			}
			name := tr.name + " (" + dict[:4] + ")"
			t.Run(name, func(t *testing.T) { tr.run(t, made, false) })
			if tr.real {
				t.Run(name+", daemon", func(t *testing.T) { tr.run(t, made, true) })
			}
		}
	}
}

// want is the exit status of a command in this trouble; 0 is that it does not meet it.
func (tr *trouble) want(c troubleCommand) int {
	for args, status := range tr.also {
		if strings.HasPrefix(c.args, args) {
			return status
		}
	}
	if !c.meets(tr.needs) || tr.skip != nil && tr.skip(c) {
		return 0
	}
	return tr.status
}

func (tr *trouble) run(t *testing.T, made *troubled, served bool) {
	arrange := func() *troubled {
		s := made.copyTo(t, disk(t, "size=8m"))
		if served {
			s.move(t)
			s.start(t)
			s.dialAdmin(t)
		}
		if tr.cause != nil {
			tr.cause(t, s)
		}
		return s
	}
	var wg sync.WaitGroup
	var s *troubled
	for _, c := range troubleCommands {
		if tr.want(c) == 0 {
			continue
		}
		if s == nil || tr.slow || tr.mayWork == made.dict {
			if s != nil && served {
				s.stop(t) // it has the addresses
			}
			s = arrange()
		}
		if tr.slow {
			own := s
			wg.Go(func() { tr.meet(t, own, c) })
		} else {
			tr.meet(t, s, c)
		}
	}
	wg.Wait()
}

// meet runs one command and judges what it says.
func (tr *trouble) meet(t *testing.T, s *troubled, c troubleCommand) {
	args, stdin := c.args, c.stdin
	if tr.edit != nil {
		args, stdin = tr.edit.Replace(args), tr.edit.Replace(stdin)
	}
	before := s.state(t)
	stdout, stderr, status := s.separate(t, stdin, args)
	if status == 0 && tr.mayWork == s.dict {
		return
	}
	if list := changes(before, s.state(t)); len(list) > 0 && !(tr.mayWork == s.dict && pendingOnly(c, list)) {
		t.Errorf("%s: %v", args, list)
	}
	if want := tr.want(c); status != want {
		t.Errorf("%s: status %d, want %d: %s%s", args, status, want, stdout, stderr)
	}
	judge(t, args, stderr, tr.says)
}

// unspeakable is what no administrator should have to read.
var unspeakable = regexp.MustCompile(`(^|: )(admin|keys|attrdict|durable|account|userdb|maildir|dcrypt|storage|json|strconv|net|os|io|bolt|tls): |` +
	`context (deadline|canceled)|i/o timeout|\bEOF\b|0x[0-9a-f]|%!|<nil>|goroutine|panic|\bdial unix\b|invalid character|unmarshal|temporary failure: `)

// judge wants one line of the tool, which a person understands. Warnings may stand before it.
func judge(t *testing.T, args, stderr, says string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "warning: ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) != 1 {
		t.Errorf("%s: %d lines: %q", args, len(lines), stderr)
		return
	}
	text, ok := strings.CutPrefix(lines[0], "doveadm-crypt: ")
	if !ok || !regexp.MustCompile(says).MatchString(text) {
		t.Errorf("%s: it says\n%s\nwant %s", args, lines[0], says)
	}
	if bad := unspeakable.FindString(text); bad != "" {
		t.Errorf("%s: it says %q: %s", args, bad, lines[0])
	}
	if strings.Count(text, ": ") > 4 || len(text) > 400 {
		t.Errorf("%s: it says too much: %s", args, lines[0])
	}
	t.Log(args, "->", lines[0]) // to be read at times, as an administrator would
}

func try(t *testing.T, errs ...error) {
	t.Helper()
	if err := firstError(errs...); err != nil {
		t.Fatal(err)
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func readOnly(t *testing.T, s *troubled) {
	try(t, unix.Mount("", s.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// dictFiles are the dictionaries of alice and carol.
func (s *troubled) dictFiles() []string {
	_, p, _ := strings.Cut(s.dict, "~/")
	return []string{filepath.Join(s.dir, "homes", "alice", p), filepath.Join(s.dir, "homes", "carol", p)}
}

func onDicts(fn func(path string) error) func(*testing.T, *troubled) {
	return func(t *testing.T, s *troubled) {
		for _, p := range s.dictFiles() {
			try(t, fn(p))
		}
	}
}

// holdLock holds a lock as another process would; it is another process.
func holdLock(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	try(t, err)
	t.Cleanup(func() { f.Close() })
	try(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
}

func lockBolt(t *testing.T, s *troubled) { holdLock(t, s.dictFiles()[0]) }

// lockFileDict makes Dovecot's dotlock, of a process that lives.
func lockFileDict(t *testing.T, s *troubled) {
	host, err := os.Hostname()
	try(t, err)
	writeFile(t, s.dictFiles()[0]+".lock", fmt.Sprintf("%d:%s", os.Getpid(), host))
}

func aboutCarol(c troubleCommand) bool { return strings.Contains(c.args, "carol") }

// listen offers an admin socket of a daemon that is not well.
func (s *troubled) listen(t *testing.T, serve func(c net.Conn)) {
	t.Helper()
	path := filepath.Join(s.dir, "state", "admin.sock")
	l, err := net.Listen("unix", path)
	try(t, err)
	if isRoot() {
		try(t, os.Chown(path, mailUID, mailUID))
	}
	if serve == nil { // nobody listens
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
		return
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}
