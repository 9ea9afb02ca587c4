package acceptance

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillPoints kills the tool and the daemon at each change to a file that an operation on
// keys makes: before the system call and after it, in the middle of writes, and with the loss
// of all that had not been synced. After each kill
//
//   - every message opens with the old or the new secret, and `cryptokey check` says the same,
//   - what was acknowledged is so,
//   - the operation asked for again completes; then the new secret opens every message and the
//     old one none, and no file is left over or open to others.
//
// Without more, each operation is killed at a few points, drawn with the dictionary and the
// program that is killed. MAILCRYPT_KILLS=all kills at every point of all, which takes hours;
// MAILCRYPT_KILLS=20 draws about twenty of each kind.
func TestKillPoints(t *testing.T) {
	kills, first := killCount(t), rand.IntN(len(killDicts))
	for n, dict := range killDicts {
		t.Run(dict.name, func(t *testing.T) {
			w := newKillWorld(t, dict.uri, "")
			s := &killStates{killWorld: w, made: map[string]map[string][]byte{}}
			for i, op := range slices.Concat(killOperations(), serverOperations()) {
				if kills == 0 && (i+first)%len(killDicts) != n {
					continue // with another dictionary
				}
				t.Run(op.name, func(t *testing.T) { s.operation(t, op, kills) })
			}
		})
	}
}

// killDicts are the dictionaries of the users.
var killDicts = []struct{ name, uri string }{
	{"bolt", "bolt:~/keys.db"},
	{"file", "file:~/Maildir/dovecot-attributes"},
	{"flock", "file:~/Maildir/dovecot-attributes:lock=flock"}, // which goes another way about replacing the file
}

// A killOperation is what is killed.
type killOperation struct {
	name  string
	from  string   // the state that it begins in
	args  []string // of the tool; $NAME is a variable of the state
	stdin string
	// work is done in place of args: clients of the daemon. Its error says that it was not
	// acknowledged.
	work func(t *testing.T, w *killWorld) error
	// old opens the mail before, new afterwards.
	old, new opener
	// alone says that it is refused where a daemon runs.
	alone bool
	// keeps says that the old one opens it afterwards too.
	keeps bool
	// done is a status of the tool beside 0 that says that all has been done already.
	done int
	// newFirst has the new opener log in first: the old one's login seals what lies open.
	newFirst bool
	// may are the messages that may be closed in between, loses those that are in the end.
	may, loses []string
	// adds are messages, by their names with spaces between, that come once more, or, where
	// that was not acknowledged, twice.
	adds string
	// unchecked says that check has no opinion between: there is no key yet.
	unchecked bool
	// behind says that the work goes on behind a login, as long as that lasts.
	behind bool
	// shut says that no mail can be read before it has been done.
	shut bool
	// makes and gone are the folders that it makes and removes.
	makes, gone []string
	// look is what else is wanted of the store where it was acknowledged, or else perhaps.
	look func(t *testing.T, w *killStates, acked bool) error
}

// A killPoint is a moment, and what happens there.
type killPoint struct {
	mode string // "alone": the tool without daemon; "daemon": the daemon is killed; "client": the tool beside it
	at   int
	how  string
}

func (p killPoint) String() string { return fmt.Sprintf("%s %d, %s", p.mode, p.at, p.how) }

// killCount is how many points of each kind are drawn; 0 means a few of all kinds together.
func killCount(t *testing.T) int {
	switch s := os.Getenv("MAILCRYPT_KILLS"); s {
	case "":
		return 0
	case "all":
		return 1 << 30
	default:
		var n int
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatalf("MAILCRYPT_KILLS=%s: want a number or all", s)
		}
		return n
	}
}

// operation kills one operation at many points.
func (w *killStates) operation(t *testing.T, op killOperation, kills int) {
	w.need(t, op.from)
	for _, s := range strings.Fields(op.adds) {
		if w.mails[s] == nil {
			w.mails[s] = mail(s, killSize(s))
			op.may = append(op.may, s)
		}
	}
	modes := []string{"alone", "daemon", "client"}
	switch {
	case op.work != nil:
		modes = modes[1:2]
	case op.alone:
		modes = modes[:1]
	}
	if kills == 0 {
		i := rand.IntN(len(modes))
		modes = modes[i : i+1]
	}
	rounds, killed := 0, 0
	begin := time.Now()
	for _, mode := range modes {
		// A run that is not killed tells which points there are.
		if w.round(t, op, killPoint{mode, 0, "before"}) {
			t.Fatalf("%s: killed at no point", mode)
		}
		steps := w.counted
		if len(steps) == 0 {
			t.Errorf("%s changes nothing", mode)
		}
		if os.Getenv("MAILCRYPT_KILLS_STEPS") != "" {
			t.Logf("%s:\n%s", mode, strings.Join(steps, "\n"))
		}
		for _, p := range drawPoints(mode, steps, kills) {
			rounds++
			if w.round(t, op, p) {
				killed++
			}
			if t.Failed() {
				t.Fatalf("stopped at %v; what was changed:\n%s", p, strings.Join(steps, "\n"))
			}
		}
	}
	t.Logf("%d rounds, %d of them killed, %v each", rounds, killed, (time.Since(begin) / time.Duration(max(rounds, 1))).Round(time.Millisecond))
}

// drawPoints makes the points of steps, and draws n of each kind.
func drawPoints(mode string, steps []string, n int) []killPoint {
	kinds := map[string][]killPoint{}
	add := func(at int, how string) { kinds[how] = append(kinds[how], killPoint{mode, at, how}) }
	for i, step := range steps {
		add(i+1, "before")
		if mode == "client" {
			continue
		}
		switch name, _, _ := strings.Cut(step, "\t"); {
		case strings.Contains(name, "write"):
			add(i+1, "torn")
		case mode == "daemon" && (strings.Contains(name, "sync") || name == "rename" || name == "link"):
			add(i+1, "after") // elsewhere it is as before the next one
		}
		add(i+1, "power")
		add(i+1, "names")
	}
	var list []killPoint
	for _, how := range slices.Sorted(maps.Keys(kinds)) {
		of := kinds[how]
		rand.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		list = append(list, of[:min(n, len(of))]...)
	}
	if mode != "client" {
		list = append(list, killPoint{mode, -1, "power"}, killPoint{mode, -1, "names"})
	}
	if n == 0 {
		for _, of := range kinds {
			list = append(list, of...)
		}
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(3, len(list))]
	}
	return list
}

// round does it once, and looks what is left. It reports whether the operation was killed.
func (w *killStates) round(t *testing.T, op killOperation, p killPoint) (killed bool) {
	t.Helper()
	w.restore(t, op.from)
	w.become(t, op.old)
	if op.work != nil {
		w.become(t, op.new) // who logs in has the new secret
	}
	killed, acked := w.strike(t, op, p)
	w.age(t)
	if w.afterRound != nil {
		w.save(t, "killed")
	}
	w.serve(t)
	w.afterKill(t, op, p, acked)
	if err := w.again(t, op); err != nil {
		t.Errorf("%v: asked for again: %v", p, err)
	}
	w.atTheEnd(t, op, p)
	w.stop(t)
	for _, s := range w.leftovers(t) {
		t.Errorf("%v: left over: %s", p, s)
	}
	if w.afterRound != nil {
		w.afterRound(t, op, p, acked)
	}
	return killed
}

// strike does the operation, and kills.
func (w *killStates) strike(t *testing.T, op killOperation, p killPoint) (killed, acked bool) {
	t.Helper()
	if p.mode == "alone" {
		out, status := w.mine(t, w.underKillat(p.at, p.how), op.stdin, op.args...)
		w.counted = w.steps(t)
		return status == 137, w.acknowledged(t, p, out, status)
	}
	if p.mode == "client" {
		w.serve(t)
		out, status := w.mine(t, w.underKillat(p.at, p.how, "-all"), op.stdin, op.args...)
		w.counted = w.steps(t)
		w.stop(t) // it ends what it has begun
		return status == 137, w.acknowledged(t, p, out, status)
	}
	w.under = w.underKillat(p.at, p.how, "-arm", w.arm)
	defer func() { w.under = nil }() // of the next start
	w.serve(t)
	writeFile(t, w.arm, "")
	var err error
	if op.work != nil {
		err = op.work(t, w.killWorld)
	} else if out, status := w.mine(t, nil, op.stdin, op.args...); status != 0 {
		err = fmt.Errorf("status %d: %s", status, out)
	}
	if err != nil {
		select {
		case <-w.exited:
			killed = true
		case <-time.After(20 * time.Second):
			t.Errorf("%v: the operation fails, and nobody was killed: %v", p, err)
		}
	}
	// What comes behind the acknowledgement is killed too, or the daemon ends here.
	w.cmd.Process.Signal(syscall.SIGTERM)
	<-w.exited
	if p.at == 0 {
		w.counted = w.steps(t)
	}
	return killed, err == nil
}

// acknowledged reports whether the tool has said that it is done.
func (w *killStates) acknowledged(t *testing.T, p killPoint, out string, status int) bool {
	t.Helper()
	if status != 0 && status != 137 {
		t.Errorf("%v: the tool ended with %d: %s", p, status, out)
	}
	return status == 0
}

// again asks for the operation once more.
func (w *killStates) again(t *testing.T, op killOperation) error {
	t.Helper()
	if op.work != nil {
		w.become(t, op.new)
		return op.work(t, w.killWorld)
	}
	if op.alone {
		w.stop(t)
		defer w.serve(t)
	}
	out, status := w.mine(t, nil, op.stdin, op.args...)
	if status == 0 || status == op.done && len(w.missing(w.read(t, op.new), op.loses)) == 0 {
		return nil
	}
	return fmt.Errorf("status %d: %s", status, out)
}

// afterKill looks at a store where an operation was killed.
func (w *killStates) afterKill(t *testing.T, op killOperation, p killPoint, acked bool) {
	t.Helper()
	if op.shut && !acked {
		return
	}
	openers := []opener{op.old}
	if op.new.name != op.old.name {
		openers = append(openers, op.new)
	}
	if op.newFirst {
		slices.Reverse(openers)
	}
	var said []int
	for _, o := range openers {
		said = append(said, w.check(t, o))
	}
	best, views := false, ""
	for i, o := range openers {
		v := w.read(t, o)
		views += fmt.Sprintf("\n%s: %v", o.name, v)
		if !op.unchecked && v.in && (said[i] == 0) != v.opensAll() {
			t.Errorf("%v: check with %s says %d, and the login: %v", p, o.name, said[i], v)
		}
		missing := w.missing(v, op.may)
		if acked {
			missing = w.missing(v, op.loses)
		}
		if len(missing) == 0 && (!acked || openers[i].name == op.new.name) {
			best = true
		}
		w.noDoubles(t, op, p, v)
	}
	if !best {
		t.Errorf("%v (acknowledged: %v): mail is lost:%s", p, acked, views)
	}
	w.lookAt(t, op, p, acked)
}

// lookAt has a look at what else is wanted.
func (w *killStates) lookAt(t *testing.T, op killOperation, p killPoint, acked bool) {
	t.Helper()
	for _, look := range []func(*testing.T, *killStates, bool) error{op.look, w.alsoLook} {
		if look == nil {
			continue
		}
		if err := look(t, w, acked); err != nil {
			t.Errorf("%v (acknowledged: %v): %v", p, acked, err)
		}
	}
}

// check returns the status of "cryptokey check" for an opener.
func (w *killStates) check(t *testing.T, o opener) int {
	t.Helper()
	w.become(t, o)
	out, status := w.mine(t, nil, o.stdin, append([]string{"cryptokey", "check", "-u", "u"}, o.options...)...)
	if status != 0 && status != 65 {
		t.Errorf("check with %s: status %d: %s", o.name, status, out)
	}
	return status
}

// missing are the messages that a view does not have and should.
func (w *killStates) missing(v killView, but []string) []string {
	var list []string
	for s := range w.mails {
		if v.opened[s] == 0 && !slices.Contains(but, s) {
			list = append(list, s)
		}
	}
	return list
}

func (w *killStates) noDoubles(t *testing.T, op killOperation, p killPoint, v killView) {
	t.Helper()
	for s, n := range v.opened {
		if n > 1 && !slices.Contains(strings.Fields(op.adds), s) {
			t.Errorf("%v: message %s is there %d times", p, s, n)
		}
	}
}

// atTheEnd looks at a store where an operation has been completed.
func (w *killStates) atTheEnd(t *testing.T, op killOperation, p killPoint) {
	t.Helper()
	if op.behind {
		c := login(t, w.imap, "u", op.new.password)
		for end := time.Now().Add(30 * time.Second); w.check(t, op.new) != 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		c.close()
	}
	v := w.read(t, op.new)
	if missing := w.missing(v, op.loses); len(missing) > 0 {
		t.Errorf("%v: in the end %s does not open %v: %v", p, op.new.name, missing, v)
	}
	for _, s := range op.loses {
		if v.opened[s] > 0 {
			t.Errorf("%v: in the end %s is still there", p, s)
		}
	}
	w.noDoubles(t, op, p, v)
	w.lookAt(t, op, p, true)
	if status := w.check(t, op.new); (status == 0) != v.opensAll() {
		t.Errorf("%v: in the end check with %s says %d, and the login: %v", p, op.new.name, status, v)
	}
	if op.keeps || op.old.name == op.new.name {
		return
	}
	if v := w.read(t, op.old); len(v.opened) > 0 {
		t.Errorf("%v: in the end %s still opens: %v", p, op.old.name, v)
	}
}
