package imapd

import (
	"math"
	"strings"
	"testing"

	"mailcrypt/quota"
)

func TestQuota(t *testing.T) {
	f := newFixture(t)
	f.user.quota = &quotaState{"User quota", quota.Usage{Bytes: 1025, Messages: 3}, quota.Limits{Bytes: 10 << 10, Messages: 5}}
	f.login().script(`
		C: a GETQUOTAROOT inbox
		S: * QUOTAROOT INBOX "User quota"
		S: * QUOTA "User quota" (STORAGE 2 10 MESSAGE 3 5)
		S: a OK Getquotaroot completed.
		C: b GETQUOTAROOT "not (there)"
		S: * QUOTAROOT "not (there)" "User quota"
		S: * QUOTA "User quota" (STORAGE 2 10 MESSAGE 3 5)
		S: b OK Getquotaroot completed.
		C: c GETQUOTA "User quota"
		S: * QUOTA "User quota" (STORAGE 2 10 MESSAGE 3 5)
		S: c OK Getquota completed.
		C: d GETQUOTA ""
		S: d NO [NONEXISTENT] Quota root doesn't exist.
		C: e GETQUOTA "user quota"
		S: e NO [NONEXISTENT] Quota root doesn't exist.
		C: f SETQUOTA "User quota" (STORAGE 500 MESSAGE 9)
		S: f NO [NOPERM] Quota can be changed only by admin.
		C: g SETQUOTA x ()
		S: g NO [NOPERM] Quota can be changed only by admin.
		C: h SETQUOTA x (STORAGE)
		S~ h BAD .*
		C: i SETQUOTA x (STORAGE -1)
		S~ i BAD .*
		C: j SETQUOTA x
		S~ j BAD .*
		C: k GETQUOTA
		S~ k BAD .*
		C: l GETQUOTAROOT INBOX x
		S~ l BAD .*
	`)
	for _, tt := range []struct {
		state *quotaState
		want  string
	}{
		{&quotaState{"Mail", quota.Usage{}, quota.Limits{Bytes: 1, Messages: quota.NoLimit}}, "* QUOTA Mail (STORAGE 0 1)"},
		{&quotaState{"", quota.Usage{Bytes: 1024}, quota.Limits{Bytes: math.MaxInt64 - 1, Messages: quota.NoLimit}}, `* QUOTA "" (STORAGE 1 9007199254740992)`},
		{&quotaState{"NIL", quota.Usage{Messages: 1 << 40}, quota.Limits{Bytes: quota.NoLimit, Messages: 1}}, "* QUOTA NIL (MESSAGE 1099511627776 1)"},
	} {
		f.user.quota = tt.state
		c := f.login()
		c.send("a GETQUOTAROOT INBOX")
		if got := c.until("a "); len(got) != 3 || got[1] != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	f.user.quota = nil
	f.login().script(`
		C: a GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX
		S: a OK No quota.
		C: b GETQUOTA "User quota"
		S: b NO [NONEXISTENT] Quota root doesn't exist.
	`)
}

func TestOverQuota(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.user.over = true
	c := f.selected("INBOX")
	// By its announced size alone it is refused before the client sends it.
	c.script(`
		C: a APPEND INBOX {101}
		S: a NO [OVERQUOTA] Quota exceeded (mailbox for user is full)
		C: b COPY 1 INBOX
		S: b NO [OVERQUOTA] No room.
		C: c MOVE 1 INBOX
		S: c NO [OVERQUOTA] No room.
		C: d APPEND INBOX {60}
		S: + OK
	`)
	c.raw(strings.Repeat("x", 60) + "\r\n")
	c.script("S: d NO [OVERQUOTA] No room.\nC: e APPEND INBOX {101+}")
	c.raw(strings.Repeat("x", 101) + "\r\n")
	c.script("S: e NO [OVERQUOTA] Quota exceeded (mailbox for user is full)\nC: f APPEND INBOX {9+}")
	c.raw("x: y\r\n\r\nz\r\n")
	c.script("S: * 2 EXISTS\nS: * 2 RECENT\nS* f OK ")
}

func TestDeletedStorage(t *testing.T) {
	f := newFixture(t)
	f.add("INBOX", simple)
	f.add("INBOX", "a: b\r\n\r\nxyz\r\n", `\Deleted`)
	f.login().script(`
		C: a STATUS INBOX (DELETED DELETED-STORAGE)
		S: * STATUS INBOX (DELETED 1 DELETED-STORAGE 13)
		S: a OK Status completed.
	`)
}
