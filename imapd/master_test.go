package imapd

import (
	"context"
	"net"
	"testing"
)

func TestMasterLogin(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MasterSeparator = "*" })
	c := f.dial()
	c.line()
	c.script(`
		C: a LOGIN alice*admin boss
		S: a NO [AUTHORIZATIONFAILED] Authorization failed.
		C: b AUTHENTICATE PLAIN YWxpY2UAYWRtaW4AYm9zcw==
		S: b NO [AUTHORIZATIONFAILED] Authorization failed.
	`)
	f.srv.loginAs = func(ctx context.Context, user, master string, password []byte, _ net.Addr) (login, error) {
		if user != "alice" || master != "admin" || string(password) != "boss" {
			return nil, errAuth
		}
		return f.user, nil
	}
	for _, good := range []string{"LOGIN alice*admin boss", "AUTHENTICATE PLAIN YWxpY2UAYWRtaW4AYm9zcw==", "AUTHENTICATE PLAIN AGFsaWNlKmFkbWluAGJvc3M=", "AUTHENTICATE PLAIN YWxpY2UAYWxpY2UAc2VjcmV0"} {
		c.send("c " + good)
		if got := c.until("c "); got[len(got)-1][:4] != "c OK" {
			t.Errorf("%s: %q", good, got)
		}
		c.script("C: d UNAUTHENTICATE\nS* d OK")
	}
	for _, bad := range []string{"alice* boss", "*admin boss", "alice*admin secret", "alice*alice secret", "alice*admin* boss"} {
		c.send("e LOGIN " + bad)
		c.script(`S: e NO [AUTHENTICATIONFAILED] Authentication failed.`)
	}
}
