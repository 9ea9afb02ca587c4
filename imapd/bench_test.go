package imapd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// The benchmarks fetch the same messages, in memory, from this server and from go-imap's, over
// loopback and with a client that allocates nothing. Run them with
//
//	go test ./imapd -run '^$' -bench Fetch -count 10
//
// and compare the two rows of each with benchstat; allocs/msg is the server's.

func BenchmarkFetch(b *testing.B) {
	small := strings.ReplaceAll(multipart, "\n", "\r\n")
	large := small + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20<<20/78)
	for _, bb := range []struct {
		name, command string
		messages      int
		text          string
	}{
		{"flags", "FETCH 1:* (FLAGS UID)", 10_000, small},
		{"size", "FETCH 1:* (FLAGS UID RFC822.SIZE INTERNALDATE)", 10_000, small},
		{"header", "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (From Subject Date)])", 2_000, small},
		{"structure", "FETCH 1:* (UID ENVELOPE BODYSTRUCTURE)", 2_000, small},
		{"small", "FETCH 1:* BODY.PEEK[]", 2_000, small},
		{"large", "FETCH 1 BODY.PEEK[]", 1, large},
		{"partial", "FETCH 1 BODY.PEEK[]<1000000.65536>", 1, large},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.Run("server=mailcrypt", func(b *testing.B) {
				f := newFixture(b)
				for range bb.messages {
					f.add("INBOX", bb.text)
				}
				benchFetch(b, f.addr, bb.command, bb.messages)
			})
			b.Run("server=go-imap", func(b *testing.B) {
				benchFetch(b, goIMAP(b, bb.messages, bb.text), bb.command, bb.messages)
			})
		})
	}
}

// goIMAP serves the same messages by go-imap's server, from memory.
func goIMAP(b *testing.B, n int, text string) string {
	b.Helper()
	user := imapmemserver.NewUser("alice", "secret")
	if err := user.Create("INBOX", nil); err != nil {
		b.Fatal(err)
	}
	for range n {
		if _, err := user.Append("INBOX", strings.NewReader(text), &imap.AppendOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	mem := imapmemserver.New()
	mem.AddUser(user)
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		InsecureAuth: true,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// benchFetch sends a command again and again and reads its answers.
func benchFetch(b *testing.B, addr, command string, messages int) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 256<<10)
	if _, err := r.ReadSlice('\n'); err != nil {
		b.Fatal(err)
	}
	end := []byte("t OK ")
	ask := func(line []byte) (octets int64) {
		if _, err := nc.Write(line); err != nil {
			b.Fatal(err)
		}
		for {
			l, err := r.ReadSlice('\n')
			octets += int64(len(l))
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
			case err != nil:
				b.Fatal(err)
			case bytes.HasPrefix(l, end):
				return octets
			case bytes.HasPrefix(l, end[:2]):
				b.Fatalf("%s: %s", line, l)
			case len(l) > 3 && l[len(l)-3] == '}':
				n := 0
				for _, c := range l[bytes.LastIndexByte(l, '{')+1 : len(l)-3] {
					n = 10*n + int(c-'0')
				}
				octets += int64(n)
				if _, err := r.Discard(n); err != nil && err != io.EOF {
					b.Fatal(err)
				}
			}
		}
	}
	ask([]byte("t LOGIN alice secret\r\n"))
	ask([]byte("t EXAMINE INBOX\r\n"))
	line := fmt.Appendf(nil, "t %s\r\n", command)
	b.SetBytes(ask(line))
	b.ReportAllocs()
	allocs := testing.AllocsPerRun(1, func() { ask(line) })
	b.ResetTimer()
	begun := cpuTime(b)
	for b.Loop() {
		ask(line)
	}
	b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(allocs/float64(messages), "allocs/msg")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(messages), "ns/msg")
}

// cpuTime is what this process has used, of the client too: on a busy machine it tells more
// than the time that has passed.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
