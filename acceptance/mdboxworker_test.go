package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A mailModel is what a worker knows to be there of its own: by folder and name of message,
// the flags that a message may have, the present ones last. Others are those that it had
// since they were last known to be durable.
type mailModel map[string]map[string][]string

func (m mailModel) clone() mailModel {
	c := mailModel{}
	for folder, messages := range m {
		c[folder] = maps.Clone(messages)
	}
	return c
}

// A mailWorker is a client that changes messages and folders of its own, some of them in
// folders that others use too, and wants to see at each step what it has done. The server
// may end at any moment: then what was under way has been done, or not.
type mailWorker struct {
	t        *testing.T
	id       int
	address  string
	password string
	rand     *rand.Rand
	texts    map[string][]byte
	there    mailModel
	may      []mailModel // what may be there instead, after a connection was lost
	conn     *imapConn
	serial   int
	steps    map[string]int // how often each kind of step was acknowledged
	settled  int            // how often what was under way was looked for
	did      []string
}

var errLostConnection = errors.New("the connection is lost")

func newMailWorker(t *testing.T, id int, address, password string, r *rand.Rand) *mailWorker {
	return &mailWorker{t: t, id: id, address: address, password: password, rand: r, texts: map[string][]byte{},
		there: mailModel{"INBOX": {}}, steps: map[string]int{}}
}

// command sends one; where the answer does not come, may is what may be there then.
func (w *mailWorker) command(may []mailModel, do func() (answer, error), what string) (answer, error) {
	w.did = append(w.did, what)
	if len(w.did) > 40 {
		w.did = slices.Delete(w.did, 0, 20)
	}
	a, err := do()
	if err != nil {
		w.may = append(may, w.there)
		w.cut()
		return a, fmt.Errorf("%w: %w", errLostConnection, err)
	}
	if !a.ok() {
		return a, fmt.Errorf("%s: %s", what, a.tagged)
	}
	return a, nil
}

func (w *mailWorker) say(may []mailModel, format string, args ...any) (answer, error) {
	what := fmt.Sprintf(format, args...)
	return w.command(may, func() (answer, error) { return w.conn.try("%s", what) }, what)
}

func (w *mailWorker) cut() {
	if w.conn != nil {
		w.conn.c.Close()
		w.conn = nil
	}
}

// work does something n times. A connection that ends is nothing to it.
func (w *mailWorker) work(n int) error {
	for range n {
		if err := w.step(); errors.Is(err, errLostConnection) {
			return nil
		} else if err != nil {
			return w.fault(err)
		}
	}
	if w.rand.IntN(4) == 0 {
		w.cut()
	}
	return nil
}

func (w *mailWorker) fault(err error) error {
	return fmt.Errorf("worker %d: %w\nit did\n%s", w.id, err, strings.Join(w.did, "\n"))
}

func (w *mailWorker) connect() error {
	if w.conn != nil {
		return nil
	}
	c, err := tryIMAP(w.t, w.address)
	if err != nil {
		return fmt.Errorf("%w: %w", errLostConnection, err)
	}
	w.conn = c
	if _, err := w.say(w.may, "LOGIN u %s", w.password); err != nil {
		return err
	}
	if w.may != nil {
		return w.settle()
	}
	return nil
}

// step does one thing in one folder, after a look at it.
func (w *mailWorker) step() error {
	if err := w.connect(); err != nil {
		return err
	}
	folders := slices.Sorted(maps.Keys(w.there))
	folder := folders[w.rand.IntN(len(folders))]
	condstore := w.rand.IntN(2) == 0
	if _, err := w.say(nil, "SELECT %s%s", quote(folder), cond2(condstore, " (CONDSTORE)")); err != nil {
		return err
	}
	uids, err := w.see(folder)
	if err != nil {
		return err
	}
	if n := w.rand.IntN(10); n < 3 || len(uids) == 0 {
		return w.add(folder)
	} else if n < 5 {
		return w.folder(folders)
	}
	some := slices.Sorted(maps.Keys(uids))
	w.rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:1+w.rand.IntN(min(4, len(some)))]
	if w.rand.IntN(2) == 0 {
		return w.flag(folder, some, uids, condstore)
	}
	return w.carry(folder, folders[w.rand.IntN(len(folders))], some, uids)
}

func cond2(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// see fetches the selected folder, wants to see what it knows, and returns its UIDs by name.
func (w *mailWorker) see(folder string) (map[string]int, error) {
	got, uids, err := w.fetch(folder)
	if err != nil {
		return nil, err
	}
	want := w.there[folder]
	for id, flags := range want {
		if now, ok := got[id]; !ok || now != flags[len(flags)-1] {
			return nil, fmt.Errorf("%s in %s: there is %v with %q, want %q", id, folder, ok, now, flags)
		}
	}
	if len(got) != len(want) {
		return nil, fmt.Errorf("%d own messages in %s, want %d: %v", len(got), folder, len(want), got)
	}
	return uids, nil
}

// fetch returns the flags and UIDs of its messages, all of whose bytes must be there.
func (w *mailWorker) fetch(folder string) (flags map[string]string, uids map[string]int, err error) {
	a, err := w.say(w.may, "UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	if err != nil {
		return nil, nil, err
	}
	flags, uids = map[string]string{}, map[string]int{}
	for uid, f := range a.fetches() {
		_, id, _ := bytes.Cut(f.body, []byte("Subject: "))
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		name := string(id)
		if !strings.HasPrefix(name, fmt.Sprintf("w%d-", w.id)) {
			continue
		}
		if !bytes.Equal(f.body, w.texts[name]) {
			return nil, nil, fmt.Errorf("%s in %s has %d other bytes than the %d that were sent", name, folder, len(f.body), len(w.texts[name]))
		}
		if _, twice := flags[name]; twice {
			return nil, nil, fmt.Errorf("%s is in %s twice", name, folder)
		}
		f.flags = slices.DeleteFunc(f.flags, func(s string) bool { return s == `\Recent` })
		slices.Sort(f.flags)
		flags[name], uids[name] = strings.Join(f.flags, " "), uid
	}
	return flags, uids, nil
}

// add appends one message, or several at once.
func (w *mailWorker) add(folder string) error {
	var messages [][]byte
	after := w.there.clone()
	for n := range 1 + w.rand.IntN(4)*w.rand.IntN(2) {
		w.serial++
		id := fmt.Sprintf("w%d-%d", w.id, w.serial)
		w.texts[id] = mail(id, 200+w.rand.IntN(3000))
		messages = append(messages, w.texts[id])
		after[folder][id] = []string{[]string{"", `\Seen`}[n%2]} // as multiAppend has it
	}
	_, err := w.command([]mailModel{after}, func() (answer, error) { return w.conn.multiAppend(folder, messages) },
		fmt.Sprintf("APPEND %s: %d messages", folder, len(messages)))
	if err == nil {
		w.there = after
		w.steps[[]string{"append", "multiappend"}[min(len(messages)-1, 1)]]++
	}
	return err
}

// flag changes flags. Where a modseq is told of the change it is durable.
func (w *mailWorker) flag(folder string, ids []string, uids map[string]int, condstore bool) error {
	var flags []string
	for _, f := range []string{`\Answered`, `\Deleted`, `\Flagged`, `\Seen`, "work"} {
		if w.rand.IntN(3) == 0 {
			flags = append(flags, f)
		}
	}
	after := w.there.clone()
	for _, id := range ids {
		after[folder][id] = append(slices.Clone(after[folder][id]), strings.Join(flags, " "))
	}
	if _, err := w.say([]mailModel{after}, "UID STORE %s FLAGS (%s)", uidSet(ids, uids), strings.Join(flags, " ")); err != nil {
		return err
	}
	w.there = after
	w.steps["store"]++
	if condstore {
		w.durable(folder, ids)
	} else if w.rand.IntN(3) == 0 {
		if _, err := w.say(nil, "STATUS %s (HIGHESTMODSEQ)", quote(folder)); err != nil {
			return err
		}
		w.durable(folder, slices.Collect(maps.Keys(w.there[folder])))
	}
	return nil
}

func (w *mailWorker) durable(folder string, ids []string) {
	for _, id := range ids {
		flags := w.there[folder][id]
		w.there[folder][id] = flags[len(flags)-1:]
	}
}

func uidSet(ids []string, uids map[string]int) string {
	var set []string
	for _, id := range ids {
		set = append(set, fmt.Sprint(uids[id]))
	}
	return strings.Join(set, ",")
}

// carry copies, moves or expunges.
func (w *mailWorker) carry(from, to string, ids []string, uids map[string]int) error {
	ids = slices.DeleteFunc(ids, func(id string) bool { return w.there[to][id] != nil })
	kind := []string{"COPY", "MOVE", "EXPUNGE"}[w.rand.IntN(3)]
	if len(ids) == 0 {
		return nil
	}
	copied, moved := w.there.clone(), w.there.clone()
	for _, id := range ids {
		flags := w.there[from][id]
		copied[to][id], moved[to][id] = flags[len(flags)-1:], flags[len(flags)-1:]
		delete(moved[from], id)
	}
	set := uidSet(ids, uids)
	after, may := copied, []mailModel{copied}
	switch kind {
	case "COPY":
		if _, err := w.say(may, "UID COPY %s %s", set, quote(to)); err != nil {
			return err
		}
	case "MOVE":
		after, may = moved, []mailModel{copied, moved} // it may have got as far as the copy
		if _, err := w.say(may, "UID MOVE %s %s", set, quote(to)); err != nil {
			return err
		}
	case "EXPUNGE":
		after = w.there.clone()
		for _, id := range ids {
			flags := w.there[from][id]
			after[from][id] = append(slices.Clone(flags), `\Deleted`)
		}
		if _, err := w.say([]mailModel{after}, "UID STORE %s FLAGS.SILENT (\\Deleted)", set); err != nil {
			return err
		}
		w.there = after
		after = after.clone()
		for _, id := range ids {
			delete(after[from], id)
		}
		if _, err := w.say([]mailModel{after}, "UID EXPUNGE %s", set); err != nil {
			return err
		}
	}
	w.there = after
	w.steps[strings.ToLower(kind)]++
	return nil
}

// folder makes, renames or deletes a folder of its own.
func (w *mailWorker) folder(folders []string) error {
	own := slices.DeleteFunc(folders, func(f string) bool { return !strings.HasPrefix(f, fmt.Sprintf("W%d-", w.id)) })
	w.serial++
	fresh := fmt.Sprintf("W%d-%d", w.id, w.serial)
	if w.rand.IntN(2) == 0 {
		fresh = fmt.Sprintf("W%d-%d/Entw&APw-rfe", w.id, w.serial)
	}
	after, kind, command := w.there.clone(), "create", "CREATE "+quote(fresh)
	switch n := w.rand.IntN(4); {
	case len(own) < 2 || n == 0 && len(own) < 5:
		after[fresh] = map[string][]string{}
	case n < 3:
		old := own[w.rand.IntN(len(own))]
		kind, command = "rename", "RENAME "+quote(old)+" "+quote(fresh)
		after[fresh] = after[old]
		delete(after, old)
	default:
		old := own[w.rand.IntN(len(own))]
		kind, command = "delete", "DELETE "+quote(old)
		delete(after, old)
	}
	if _, err := w.say([]mailModel{after}, "%s", command); err != nil {
		return err
	}
	w.there = after
	w.steps[kind]++
	return nil
}

// settle finds out what was done of that whose acknowledgement did not come.
func (w *mailWorker) settle() error {
	there := map[string]map[string]string{}
	names, err := w.own()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := w.say(w.may, "EXAMINE %s", quote(name)); err != nil {
			return err
		}
		got, _, err := w.fetch(name)
		if err != nil {
			return err
		}
		there[name] = got
	}
	for _, m := range w.may {
		if !m.allows(there) {
			continue
		}
		now := mailModel{}
		for folder, messages := range there {
			now[folder] = map[string][]string{}
			for id, flags := range messages {
				now[folder][id] = []string{flags}
			}
		}
		w.there, w.may = now, nil
		w.settled++
		return nil
	}
	return fmt.Errorf("there is %v\nand may be one of %v", there, w.may)
}

// allows reports whether what is there is what a model says.
func (m mailModel) allows(there map[string]map[string]string) bool {
	for folder, messages := range there {
		if m[folder] == nil || len(m[folder]) != len(messages) {
			return false
		}
		for id, flags := range messages {
			if !slices.Contains(m[folder][id], flags) {
				return false
			}
		}
	}
	for folder := range m {
		if there[folder] == nil {
			return false
		}
	}
	return true
}

// restarted says that the server has ended: in order, or at any moment.
func (w *mailWorker) restarted(inOrder bool) {
	if w.may != nil {
		return
	}
	if inOrder {
		for folder, messages := range w.there {
			w.durable(folder, slices.Collect(maps.Keys(messages)))
		}
	}
	w.may = []mailModel{w.there}
	w.cut()
}

// all looks at everything, in a connection of its own.
func (w *mailWorker) all() error {
	w.cut()
	if err := w.connect(); err != nil {
		return w.fault(err)
	}
	names, err := w.own()
	if err != nil {
		return w.fault(err)
	}
	if want := slices.Sorted(maps.Keys(w.there)); !slices.Equal(names, want) {
		return w.fault(fmt.Errorf("there are the folders %v, want %v", names, want))
	}
	for _, name := range names {
		if _, err := w.say(nil, "EXAMINE %s", quote(name)); err != nil {
			return w.fault(err)
		}
		if _, err := w.see(name); err != nil {
			return w.fault(err)
		}
	}
	return nil
}

// own lists INBOX and its folders.
func (w *mailWorker) own() (names []string, err error) {
	a, err := w.say(w.may, `LIST "" "*"`)
	for _, name := range listed(a) {
		if name = strings.Trim(name, `"`); name == "INBOX" || strings.HasPrefix(name, fmt.Sprintf("W%d-", w.id)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}
