package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailcrypt/admin"
)

// TestSteering shows names that would steer a terminal, in every format.
func TestSteering(t *testing.T) {
	tb := table{columns: []column{{name: "box", title: "Folder"}, {name: "x", title: "X"}}}
	tb.add("a\x1b[2Jb\nc\u202ed", "1")
	for _, format := range append(formats, "") {
		var out bytes.Buffer
		tl := &tool{stdout: &out, format: format}
		show := tl.showAs(tb, tl.dovecotFormat("table"))
		if format == "" {
			show = tl.showTable(tb)
		}
		if show != nil || strings.ContainsAny(out.String(), "\x1b") || format != "json" && !strings.Contains(out.String(), "a?[2Jb?c?d") {
			t.Errorf("%s: %q, %v", format, out.String(), show)
		}
	}
}

// TestDovecotTable compares with what Dovecot 2.3.19.1 prints.
func TestDovecotTable(t *testing.T) {
	id := strings.Repeat("5a", 32)
	for want, row := range map[string][]string{
		"   Folder    Public ID                                                        \n✓  <userkey> " + id + " \n":             {"✓", "<userkey>", id},
		"   Folder Public ID                                                          \n✓  INBOX  " + id + "   \n":               {"✓", "INBOX", id},
		"   Folder Public ID                                      \nx         ERROR: Unknown EC curve                        \n": {"x", "", "ERROR: Unknown EC curve "},
		"   Folder Public ID                              \n":                                                                    nil,
	} {
		tb := table{columns: []column{{title: "  "}, {title: "Folder"}, {title: "Public ID"}}}
		if row != nil {
			tb.add(row...)
		}
		var out bytes.Buffer
		if err := (&tool{stdout: &out}).showAs(tb, "table"); err != nil || out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
	}
}

// TestComplaints: one line each, whatever the error holds, and an exit status of its kind.
func TestComplaints(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		line   string
	}{
		{nil, 0, ""},
		{reported(65), 65, ""},
		{fmt.Errorf("%w: carol", admin.ErrNoUser), exitNoUser, "doveadm-crypt: no such user: carol; "},
		{fmt.Errorf("a: %w", errors.Join(admin.ErrLocked, errors.New("b\x1b"))), exitTemporary, "doveadm-crypt: the dictionary is locked; b?; do it again in a moment; "},
		{fmt.Errorf("%w: %w", admin.ErrTemporary, admin.ErrFull), exitTemporary, "make room"},
		{fmt.Errorf("%w: 1", admin.ErrNoDaemon), exitUnavailable, "systemctl start"},
		{fmt.Errorf("%w: 1", admin.ErrVersion), exitTemporary, "another version"},
		{fmt.Errorf("%w: 1", admin.ErrNoKey), exitNotFound, "cryptokey list"},
		{fmt.Errorf("%w: 1", admin.ErrNeedPassword), exitData, "give the password"},
		{fmt.Errorf("%w: 1", admin.ErrUnhealthy), exitData, "the keys are not well"},
		{fmt.Errorf("%w: 1", admin.ErrCanceled), exitInterrupted, "do it again to complete it"},
		{errors.New("what nobody thought of"), exitTemporary, "what nobody thought of\n"},
	} {
		var out bytes.Buffer
		(&tool{stderr: &out}).complain("", tt.err)
		if !strings.Contains(out.String(), tt.line) || strings.Count(out.String(), "\n") > 1 || tt.line == "" && out.Len() > 0 {
			t.Errorf("%v: %q, want %q in one line", tt.err, out.String(), tt.line)
		}
		if got := status(tt.err); got != tt.status {
			t.Errorf("%v: status %d, want %d", tt.err, got, tt.status)
		}
	}
}

// TestProgress shows nothing in the first second, and leaves nothing behind.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	m := &meter{w: &out, began: time.Now()}
	m.show(admin.Progress{What: "reading headers", Done: 1})
	m.done()
	if out.Len() > 0 {
		t.Errorf("it shows %q at once", out.String())
	}
	m.began = m.began.Add(-time.Hour)
	m.show(admin.Progress{What: "reading headers", Place: "A\nB", Done: 50, Total: 200})
	m.done()
	if want := "\r\x1b[Kreading headers A?B 50 of 200 (25%)\r\x1b[K"; out.String() != want {
		t.Errorf("it shows %q, want %q", out.String(), want)
	}
}
