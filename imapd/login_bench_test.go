package imapd

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"mailcrypt/account"
)

// BenchmarkSession is a session of nothing but LOGIN, SELECT and LOGOUT, of a user who has just
// had another.
func BenchmarkSession(b *testing.B) {
	w := newAccountWorld(b)
	w.registry = account.NewRegistry(account.Options{Idle: time.Minute, Defaults: account.Defaults{
		MailHome: w.dir + "/%u", MailLocation: "maildir:~/Maildir", AttributeDict: "bolt:~/attributes", Separator: "/",
		Crypt: map[string]string{"curve": "prime256v1", "save_version": "2"},
	}})
	r := bufio.NewReader(nil)
	session := func() {
		nc, err := net.Dial("tcp", w.addr)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		r.Reset(nc)
		for _, command := range []string{"", "a LOGIN alice secret\r\n", "a SELECT INBOX\r\n", "a LOGOUT\r\n"} {
			if _, err := nc.Write([]byte(command)); err != nil {
				b.Fatal(err)
			}
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					b.Fatal(err)
				}
				if command == "" || strings.HasPrefix(string(line), "a OK") {
					break
				}
			}
		}
	}
	session()
	b.ReportAllocs()
	for b.Loop() {
		session()
	}
}
