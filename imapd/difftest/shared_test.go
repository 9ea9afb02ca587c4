package difftest

import (
	"strconv"
	"strings"
	"testing"
)

// Both servers over one home: what one has annotated, the other reads.
func TestMetadataShared(t *testing.T) {
	w := newWorld(t)
	p, err := w.newPlace("mixed", "metadata")
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.users[p.user].Home = p.theirs // what we make there belongs to its owner
	w.mu.Unlock()
	ours, err := p.dialOurs()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.close()
	theirs, err := p.dialTheirs()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.close()
	get := func(s *talk, box string) string {
		t.Helper()
		all := strings.Join(s.raw("g GETMETADATA "+box+" (/private/comment /shared/vendor/vendor.x/z /private/vendor/vendor.x/y)\r\n"), "")
		if i := strings.Index(all, ")\r\n"); i >= 0 && strings.HasPrefix(all, "* METADATA ") {
			return all[:i+1]
		}
		t.Fatalf("GETMETADATA: %q", all)
		return ""
	}
	value := 0
	set := func(s *talk, box string) {
		t.Helper()
		value++
		v := strings.Repeat("tab\tquote\" \xc3\xa4 \x01", value)
		all := strings.Join(s.raw("s SETMETADATA "+box+" (/private/comment {"+strconv.Itoa(len(v))+"+}\r\n"+v+" /Shared/vendor/Vendor.X/z \"all's\" /private/vendor/vendor.x/y \"\")\r\n"), "")
		if !strings.HasPrefix(all, "s OK ") {
			t.Fatalf("SETMETADATA: %q", all)
		}
	}
	for _, box := range []string{"INBOX", "Work/Plans", `""`} {
		empty := get(ours, box)
		if got := get(theirs, box); got != empty || !strings.Contains(got, "comment NIL") {
			t.Errorf("%s begins with %q and %q", box, empty, got)
		}
		for _, writer := range []*talk{ours, theirs, ours} {
			set(writer, box)
			a, b := get(ours, box), get(theirs, box)
			if a != b || strings.Contains(a, "NIL") {
				t.Errorf("%s: we read %q, Dovecot reads %q", box, a, b)
			}
		}
		if all := strings.Join(theirs.raw("s SETMETADATA "+box+" (/private/comment NIL)\r\n"), ""); !strings.HasPrefix(all, "s OK ") {
			t.Fatalf("SETMETADATA: %q", all)
		}
		if got := get(ours, box); !strings.Contains(got, "/private/comment NIL") || got != get(theirs, box) {
			t.Errorf("%s: after Dovecot has removed an annotation we read %q", box, got)
		}
	}
	// A folder that one renames keeps its annotations for the other.
	theirs.raw("r RENAME Work/Plans Projects\r\n")
	if got := get(ours, "Projects"); !strings.Contains(got, "all's") {
		t.Errorf("after a rename by Dovecot: %q", got)
	}
	ours.raw("r RENAME Projects Again\r\n")
	if got := get(theirs, "Again"); !strings.Contains(got, "all's") {
		t.Errorf("after a rename by us: %q", got)
	}
}
