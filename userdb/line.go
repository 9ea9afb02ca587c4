package userdb

import (
	"bytes"
	"os/user"
	"strconv"
	"strings"
)

// maxLine bounds a line: nobody's settings are longer.
const maxLine = 256 << 10

// An entry is one line of a passwd-file.
type entry struct {
	line     int
	name     string
	hash     string
	home     string // as it stands in its column
	template string // the field home, a template, which wins
	uid, gid int
	fields   map[string]string
	reason   string // why the user cannot be used; "" for a good line
}

// parseLine reads one line without its end; ok is false for a line without a user.
func parseLine(text string, line int) (e entry, ok bool) {
	if text == "" || text[0] == '#' || text[0] == ':' {
		return entry{}, false
	}
	columns := strings.SplitN(text, ":", 8)
	e = entry{line: line, name: columns[0], uid: -1, gid: -1, fields: map[string]string{}}
	column := func(i int) string {
		if i < len(columns) {
			return columns[i]
		}
		return ""
	}
	if len(text) > maxLine {
		e.reason = "the line is too long"
		return e, true
	}
	e.hash = libpamHash(column(1))
	e.home = column(5)
	e.setID(&e.uid, "uid", column(2))
	e.setID(&e.gid, "gid", column(3))
	e.parseFields(column(7))
	return e, true
}

// libpamHash understands hash[type] of libpam-pwdfile, where 34 is MD5 and 56 DIGEST-MD5.
func libpamHash(s string) string {
	if hash, ok := strings.CutSuffix(s, "[34]"); ok && !strings.HasPrefix(s, "{") {
		return "{PLAIN-MD5}" + hash
	}
	if hash, ok := strings.CutSuffix(s, "[56]"); ok && !strings.HasPrefix(s, "{") {
		return "{DIGEST-MD5}" + hash
	}
	return s
}

// setID reads a number or a name of the system. Dovecot refuses 0 as well.
func (e *entry) setID(id *int, what, s string) {
	if s == "" {
		return
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil && s[0] > '9' {
		number := ""
		if what == "uid" {
			if u, uerr := user.Lookup(s); uerr == nil {
				number = u.Uid
			}
		} else if g, gerr := user.LookupGroup(s); gerr == nil {
			number = g.Gid
		}
		n, err = strconv.ParseUint(number, 10, 31)
	}
	if err != nil || n == 0 {
		e.reason = "invalid " + what
		return
	}
	*id = int(n)
}

// parseFields reads the extra fields. Of two with one name the last wins, but one without
// the prefix never wins over one with it.
func (e *entry) parseFields(s string) {
	own := map[string]bool{}
	for field := range strings.SplitSeq(s, " ") {
		if field == "" {
			continue
		}
		name, value, found := strings.Cut(field, "=")
		if !found {
			value = "yes"
		}
		name, prefixed := strings.CutPrefix(name, "userdb_")
		if name == "" { // Dovecot 2.3.19.1 ends in an assertion here
			e.reason = "an extra field has no name"
			return
		}
		if own[name] && !prefixed {
			continue
		}
		own[name] = own[name] || prefixed
		e.fields[name] = value
	}
	e.template = e.fields["home"]
	e.setID(&e.uid, "uid", e.fields["uid"])
	e.setID(&e.gid, "gid", e.fields["gid"])
	for _, name := range []string{"home", "uid", "gid"} {
		delete(e.fields, name)
	}
}

// A table is a parsed passwd-file.
type table struct {
	byName map[string]*entry
	order  []*entry
	twice  []*entry // lines that do not count, since their user has one already
	sample string   // a hash that unknown users' passwords are compared with
}

func parseTable(b []byte) *table {
	t := &table{byName: map[string]*entry{}}
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		b = rest
		e, ok := parseLine(string(bytes.TrimSuffix(line, []byte{'\r'})), n)
		if !ok {
			continue
		}
		if t.byName[e.name] != nil {
			t.twice = append(t.twice, &e)
			continue
		}
		t.byName[e.name] = &e
		t.order = append(t.order, &e)
		if t.sample == "" {
			if _, _, err := parseHash(e.hash); err == nil && e.hash != "" {
				t.sample = e.hash
			}
		}
	}
	return t
}
