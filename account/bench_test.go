package account

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailcrypt/mailbox"
)

// BenchmarkRead opens messages one after the other, as FETCH does, whose key data the sealed
// cache has.
func BenchmarkRead(b *testing.B) {
	const count = 200
	for _, kind := range []string{"maildir/clear", "maildir/encrypted", "mdbox/clear", "mdbox/encrypted"} {
		for _, size := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", kind, size>>10), func(b *testing.B) {
				format, form, _ := strings.Cut(kind, "/")
				w := newWorld(b, "bolt:~/keys.db", time.Minute)
				d := defaults(w.dir, "bolt:~/keys.db")
				d.SealedCache, d.MailLocation = 16<<20, format+":~/"+format
				w.SetDefaults(d)
				u := user("alice")
				if form == "clear" {
					u = user("alice", "mail_crypt_save_version=0")
				}
				l := w.login(b, u, "pw")
				defer l.Close()
				m := open(b, l, "INBOX")
				defer m.Close()
				text := "Subject: marzipan\r\n\r\n" + strings.Repeat(strings.Repeat("nougat ", 10)+"\r\n", size/72)
				for range count {
					save(b, m, text)
				}
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					msg, err := m.Read(context.Background(), mailbox.UID(1+i%count))
					if err != nil {
						b.Fatal(err)
					}
					msg.Close()
				}
			})
		}
	}
}
