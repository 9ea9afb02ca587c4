package imapd

import (
	"bufio"
	"strings"
	"testing"
)

// What the strict reader takes, and what it must not.
func TestStrictReader(t *testing.T) {
	read := func(in string) error {
		s := &strictReader{r: bufio.NewReader(strings.NewReader(in)), messages: 3}
		_, err := s.next()
		return err
	}
	for _, good := range []string{
		"a OK Done.\r\n", "* OK [UNSEEN 1] First.\r\n", "* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n", "+ idling\r\n", "* 3 EXISTS\r\n", "* 3 EXPUNGE\r\n",
		"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (A B)]<0> {3}\r\nabc FLAGS (\\Seen k))\r\n", "* 1 FETCH (BODYSTRUCTURE ((\"TEXT\" NIL)(\"TEXT\" NIL) \"MIXED\"))\r\n",
		"* LIST (\\HasNoChildren) \"/\" INBOX\r\n", "* SEARCH\r\n", "* SEARCH 1 2 (MODSEQ 3)\r\n", "* THREAD (1 2)((3)(4))\r\n", "* VANISHED (EARLIER) 1:2\r\n",
		"* ESEARCH (TAG \"a\") UID ALL 1:2 PARTIAL (1:2 NIL)\r\n", "* STATUS \"a b\" (MESSAGES 1)\r\n", "* 1 FETCH (BINARY[1] ~{1}\r\n\x00)\r\n",
	} {
		if err := read(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"a OK Done.\n", "a OK \r\n", "a OK Do\rne.\r\n", "a FETCH x\r\n", "* 4 EXPUNGE\r\n", "* 0 FETCH (UID 1)\r\n", "* 2 EXISTS\r\n", "* 1 FETCH (UID  1)\r\n",
		"* 1 FETCH (UID 1\r\n", "* 1 FETCH (UID 1))\r\n", "* 1 FETCH (UID)\r\n", "* 1 FETCH (BODY[] {5}\r\nabc)\r\n", "* 1 FETCH (BODY[] {1}\r\n\x00)\r\n",
		"* LIST () \"/\" a\xff\r\n", "* LIST () \"/\" \"a\xff\"\r\n", "* LIST () \"/\" a b\r\n", "* FOO\r\n", "* OK [] x\r\n", "* OK [X (] x\r\n", "* NO [x] y\r\n",
		"* STATUS a (MESSAGES)\r\n", "* LIST () \"/\" \"a\\x\"\r\n", "* LIST () \"/\" %\r\n",
	} {
		if err := read(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
