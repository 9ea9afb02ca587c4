package mfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcrypt/internal/dovetest"
)

// TestDovecotReads: real Dovecot finds every message of files of ours, with its text, GUID,
// date and size, in the folder of its first save.
func TestDovecotReads(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox:ALT=~/alt", "", func(t *testing.T, dove *dovetest.Dovecot) {
		if err := os.Mkdir(filepath.Join(dove.Home, "alt"), 0o700); err != nil {
			t.Fatal(err)
		}
		d := newDir(t, Options{Root: filepath.Join(dove.Home, "mdbox"), Alt: filepath.Join(dove.Home, "alt"), RotateSize: 20_000})
		skip := uint32(0)
		next := func() uint32 { skip += 2; return skip } // IDs with gaps
		type row struct{ mailbox, guid, date, size, text string }
		var want []row
		var list []Message
		for i := range 60 {
			text := fmt.Sprintf("Subject: number %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i*37))
			if i == 30 {
				text = "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("y", 70)+"\r\n", 20_000)
			}
			stored := strings.ReplaceAll(text, "\r\n", "\n")
			at := testTime.Add(time.Duration(i) * time.Hour)
			m := message(t, d, stored, fmt.Sprintf("%032x", i+1))
			m.Metadata.Received, m.Metadata.Virtual, m.Metadata.Physical = at, int64(len(text)), int64(len(stored))
			r := row{"INBOX", m.Metadata.GUID, strconv.FormatInt(at.Unix(), 10), strconv.Itoa(len(text)), stored}
			if i%3 == 1 {
				m.Metadata.Folder, r.mailbox = "Work/Zw&APY-lf", "Work/Zwölf"
			}
			list, want = append(list, m), append(want, r)
		}
		a, err := d.Append(t.Context(), next, list)
		if err != nil {
			t.Fatal(err)
		}
		a.Commit()
		places := a.Places()
		// A part of it is moved, some of that back.
		for i, move := range [][]Place{places[5:9], places[30:31], places[40:50]} {
			if a, err = d.Copy(t.Context(), next, move, i > 0); err != nil {
				t.Fatal(err)
			}
			a.Commit()
			for j := range move {
				move[j] = a.Places()[j] // Dovecot takes one of two
			}
		}
		dove.Doveadm("", "mailbox", "create", "INBOX")
		dove.Output("", "force-resync", "INBOX") // warns that it does
		var got []row
		for _, mailbox := range []string{"INBOX", "Work/Zwölf"} {
			out := dove.Output("", "-f", "json", "fetch", "guid date.received.unixtime size.virtual text", "mailbox", mailbox, "all")
			var rows []struct {
				GUID     string `json:"guid"`
				Received string `json:"date.received.unixtime"`
				Virtual  string `json:"size.virtual"`
				Text     string `json:"text"`
			}
			if err := json.Unmarshal([]byte(out), &rows); err != nil {
				t.Fatalf("%v: %.300q", err, out)
			}
			for _, r := range rows {
				got = append(got, row{mailbox, r.GUID, r.Received, r.Virtual, strings.ReplaceAll(r.Text, "\r", "")})
			}
		}
		byGUID := func(a, b row) int { return cmp.Compare(a.guid, b.guid) }
		slices.SortFunc(got, byGUID)
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("%d messages, want %d; the first that differs is %.300q, want %.300q", len(got), len(want), got[i], want[i])
				}
			}
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
	})
}
