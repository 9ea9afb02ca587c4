package difftest

import (
	"slices"
	"strings"
	"testing"
)

// What only one of the two offers, and why.
var (
	onlyOurs = map[string]string{
		"IMAP4REV2":        "2.4 and later",
		"UTF8=ACCEPT":      "2.4 and later",
		"APPENDLIMIT":      "in Dovecot where a limit is set",
		"OBJECTID":         "",
		"REPLACE":          "",
		"PARTIAL":          "",
		"INPROGRESS":       "2.4 and later",
		"UNAUTHENTICATE":   "",
		"COMPRESS=DEFLATE": "in Dovecot with its plugin",
		"QUOTA":            "in Dovecot with its plugin", "QUOTA=RES-STORAGE": "", "QUOTA=RES-MESSAGE": "",
	}
	onlyTheirs = map[string]string{
		"SASL-IR":         "said before login",
		"LOGIN-REFERRALS": "nobody refers",
		"URL-PARTIAL":     "part of URLAUTH, which there is none of",
		"I18NLEVEL=1":     "",
		"CONTEXT=SEARCH":  "",
		"PREVIEW":         "",
		"SNIPPET=FUZZY":   "an early name of PREVIEW",
		"PREVIEW=FUZZY":   "an early name of PREVIEW",
	}
)

// TestCapability: what Dovecot offers is offered here, but for what is listed above.
func TestCapability(t *testing.T) {
	w := newWorld(t)
	p, err := w.newPlace("mixed", "")
	if err != nil {
		t.Fatal(err)
	}
	capabilities := func(dial dialer) []string {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		got := c.command([]piece{piece("CAPABILITY\r\n")})
		return strings.Fields(strings.ToUpper(strings.TrimPrefix(got[0], "* CAPABILITY ")))
	}
	ours, theirs := capabilities(p.dialOurs), capabilities(p.dialTheirs)
	for _, c := range theirs {
		if _, known := onlyTheirs[c]; !known && !slices.Contains(ours, c) {
			t.Errorf("only Dovecot offers %s", c)
		}
	}
	for _, c := range ours {
		if _, known := onlyOurs[c]; !known && !slices.Contains(theirs, c) {
			t.Errorf("only we offer %s", c)
		}
	}
}
