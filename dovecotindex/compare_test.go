package dovecotindex

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
)

// compare checks that our reading of mailboxes is what Dovecot says of them.
func compare(t *testing.T, d *dovetest.Dovecot, driver string, names ...string) map[string]*Mailbox {
	t.Helper()
	boxes := map[string]*Mailbox{}
	for _, name := range names {
		x, err := Read(t.Context(), liveIndex(d, driver, name))
		if err != nil || x.Damage != nil {
			t.Fatalf("%s: %v %v", name, err, x)
		}
		boxes[name] = kind(t, x, driver)
	}
	compareStatus(t, d, driver, boxes)
	fields := "mailbox uid flags modseq"
	var places *Map
	if driver == "mdbox" { // sdbox has GUIDs in the files alone
		fields += " guid date.saved.unixtime refcount"
		places = liveMap(t, d)
	}
	rows := map[string][]string{}
	for _, row := range d.Fetch(fields, "all") {
		name, rest, _ := strings.Cut(row, "\t")
		rows[name] = append(rows[name], rest)
	}
	for name, m := range boxes {
		if len(rows[name]) != len(m.Messages) {
			t.Fatalf("%s: Dovecot has %d messages, we read %d", name, len(rows[name]), len(m.Messages))
		}
		for i, row := range rows[name] {
			if got := liveRow(m.Messages[i], driver, places); got != normalRow(row) {
				t.Errorf("%s: we read %q, Dovecot says %q", name, got, normalRow(row))
			}
		}
	}
	return boxes
}

// compareStatus checks what is said of mailboxes as a whole.
func compareStatus(t *testing.T, d *dovetest.Dovecot, driver string, boxes map[string]*Mailbox) {
	t.Helper()
	lines := d.Doveadm("", slices.Concat([]string{"mailbox", "status", "messages uidnext uidvalidity highestmodseq guid"}, slices.Sorted(maps.Keys(boxes)))...)
	seen := 0
	for _, line := range lines[1:] {
		col := strings.Split(line, "\t")
		m := boxes[col[0]]
		if m == nil || len(col) != 6 {
			continue
		}
		want := []string{col[0], fmt.Sprint(len(m.Messages)), fmt.Sprint(m.NextUID), fmt.Sprint(m.UIDValidity), fmt.Sprint(m.HighestModSeq), m.GUID.String()}
		if driver == "maildir" { // these are in the uidlist
			want[3], want[5] = col[3], col[5]
		}
		if !slices.Equal(col, want) {
			t.Errorf("Dovecot says %q, we read %q", col, want)
		}
		seen++
	}
	if seen != len(boxes) {
		t.Errorf("Dovecot says something of %d mailboxes of %d: %q", seen, len(boxes), lines)
	}
}

// normalRow sorts the flags of a row, without \Recent, which doveadm counts for itself.
func normalRow(row string) string {
	col := strings.Split(row, "\t")
	if len(col) < 3 {
		return row
	}
	f := mailbox.ParseFlags(strings.Fields(col[1]))
	f.System &^= mailbox.Recent
	col[1] = strings.Join(f.Names(), " ")
	return strings.Join(col, "\t")
}

func liveRow(g Message, driver string, maps *Map) string {
	g.Flags.System &^= mailbox.Recent
	row := fmt.Sprintf("%d\t%s\t%d", g.UID, strings.Join(g.Flags.Names(), " "), g.ModSeq)
	if driver == "mdbox" {
		r, _ := maps.Find(g.MapUID)
		row += fmt.Sprintf("\t%v\t%d\t%d", g.GUID, g.Saved.Unix(), r.Refs)
	}
	return row
}

// liveMap reads mdbox's map, and looks for the messages where it says they are.
func liveMap(t *testing.T, d *dovetest.Dovecot) *Map {
	t.Helper()
	storage := filepath.Join(d.Home, "mdbox", "storage")
	x, err := Read(t.Context(), filepath.Join(storage, "dovecot.map.index"))
	if err != nil || x.Damage != nil {
		t.Fatal(err)
	}
	m, err := x.Map()
	if err != nil {
		t.Fatal(err)
	}
	if x.LogTail != x.LogOffset {
		t.Errorf("map is synced up to %d of %d", x.LogTail, x.LogOffset)
	}
	for _, g := range m.Messages {
		b, err := os.ReadFile(filepath.Join(storage, "m."+strconv.Itoa(int(g.FileID))))
		if err != nil || int(g.Offset)+int(g.Size) > len(b) || !strings.HasPrefix(string(b[g.Offset:]), "\x01\x02N") ||
			!strings.HasSuffix(string(b[:g.Offset+g.Size]), "\n\n") || g.FileID > m.HighestFileID {
			t.Errorf("no message %+v: %v", g, err)
		}
	}
	return m
}

// compareList checks the list of mailboxes.
func compareList(t *testing.T, d *dovetest.Dovecot, driver string) {
	t.Helper()
	root := map[string]string{"mdbox": "mdbox", "sdbox": "sdbox", "maildir": "Maildir"}[driver]
	x, err := Read(t.Context(), filepath.Join(d.Home, root, "dovecot.list.index"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := x.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range l.Mailboxes {
		if m.Nonexistent || m.NoSelect {
			continue
		}
		got = append(got, m.FullName('/'))
		want := d.Doveadm("", "mailbox", "status", "guid uidvalidity", m.FullName('/'))[1]
		if g := fmt.Sprintf("%s\t%d\t%v", m.FullName('/'), m.UIDValidity, m.GUID); m.UIDValidity != 0 && g != want {
			t.Errorf("list says %q, Dovecot %q", g, want)
		}
	}
	want := d.Doveadm("", "mailbox", "list")[1:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("list has %q, Dovecot %q", got, want)
	}
}

var dumpLine = regexp.MustCompile(`^(?:-- )?(.+?)[ .]*= ?(.*?)(?: \(.*)?$`)

// compareDump checks headers and extensions against doveadm dump, of an index that nobody
// changes meanwhile.
func compareDump(t *testing.T, d *dovetest.Dovecot, path string) {
	t.Helper()
	x, err := Read(t.Context(), path)
	must(t, err)
	want := []string{fmt.Sprint("index id ", x.ID), fmt.Sprint("uid validity ", x.UIDValidity), fmt.Sprint("next uid ", x.NextUID),
		fmt.Sprint("messages count ", x.Len()), fmt.Sprint("first recent uid ", x.FirstRecentUID), fmt.Sprint("log file seq ", x.LogSeq),
		fmt.Sprint("log file head offset ", x.LogOffset)}
	for _, e := range x.Extensions() {
		if e.Name != extKeywords { // whose header Dovecot pads
			want = append(want, fmt.Sprintf("name %s hdr_size %d reset_id %d record_size %d record_align %d", e.Name, len(e.Header), e.ResetID, e.Size, e.Align))
		}
	}
	var got []string
	ext := ""
	for _, line := range d.Doveadm("", "dump", "-t", "index", filepath.Dir(path)) {
		m := dumpLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch key, value := m[1], m[2]; key {
		case "index id", "uid validity", "next uid", "messages count", "first recent uid", "log file seq", "log file head offset":
			got = append(got, key+" "+value)
		case "name":
			ext = "name " + value
		case "hdr_size", "reset_id", "record_size":
			ext += " " + key + " " + value
		case "record_align":
			if ext += " record_align " + value; !strings.HasPrefix(ext, "name "+extKeywords+" ") {
				got = append(got, ext)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Dovecot dumps\n%s\nwe read\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
