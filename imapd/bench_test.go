package imapd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/mailbox"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
)

// The benchmarks fetch the same messages from the same store in memory by this server and by
// go-imap's, over loopback and with a client that allocates nothing. Run them with
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
		{"1MiB", "FETCH 1:* BODY.PEEK[]", 50, large[:1<<20]},
		{"large", "FETCH 1 BODY.PEEK[]", 1, large},
		{"partial", "FETCH 1 BODY.PEEK[]<1000000.65536>", 1, large},
	} {
		b.Run(bb.name, func(b *testing.B) {
			f := newFixture(b)
			for range bb.messages {
				f.add("INBOX", bb.text)
			}
			b.Run("server=mailcrypt", func(b *testing.B) { benchFetch(b, f.addr, bb.command, bb.messages) })
			b.Run("server=go-imap", func(b *testing.B) { benchFetch(b, goIMAP(b, f.user), bb.command, bb.messages) })
		})
	}
}

// goIMAP serves the same mailbox by go-imap's server.
func goIMAP(b *testing.B, user *fakeUser) string {
	b.Helper()
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &goIMAPSession{user: user}, nil, nil
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

// A goIMAPSession is a session of go-imap's server over the store of the fixture, in the way
// that is cheapest there. What the benchmarks do not use is missing.
type goIMAPSession struct {
	imapserver.Session
	user *fakeUser
	box  box
}

func (s *goIMAPSession) Close() error                              { return nil }
func (s *goIMAPSession) Login(string, string) error                { return nil }
func (s *goIMAPSession) Poll(*imapserver.UpdateWriter, bool) error { return nil }

func (s *goIMAPSession) Select(name string, _ *imap.SelectOptions) (_ *imap.SelectData, err error) {
	s.box, err = s.user.Open(context.Background(), name, true)
	if err != nil {
		return nil, err
	}
	return &imap.SelectData{NumMessages: uint32(s.box.View().Len())}, nil
}

func (s *goIMAPSession) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	view := s.box.View()
	seqs := set.(imap.SeqSet)
	for i, msg := range view.All() {
		if n := uint32(i + 1); n < seqs[0].Start || seqs[0].Stop != 0 && n > seqs[0].Stop {
			continue
		}
		if err := s.fetch(w.CreateMessage(uint32(i+1)), msg, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *goIMAPSession) fetch(w *imapserver.FetchResponseWriter, msg *mailbox.Message, o *imap.FetchOptions) error {
	if o.UID {
		w.WriteUID(imap.UID(msg.UID))
	}
	if o.Flags {
		flags := make([]imap.Flag, 0, 4)
		for _, name := range msg.Flags.Names() {
			flags = append(flags, imap.Flag(name))
		}
		w.WriteFlags(flags)
	}
	if o.InternalDate {
		full, err := s.box.Stat(context.Background(), msg.UID)
		if err != nil {
			return err
		}
		w.WriteInternalDate(full.Received)
	}
	if o.RFC822Size {
		w.WriteRFC822Size(msg.Sizes.Virtual)
	}
	if o.Envelope || o.BodyStructure != nil || len(o.BodySection) > 0 {
		text, err := s.box.Read(context.Background(), msg.UID)
		if err != nil {
			return err
		}
		defer text.Close()
		if err := s.fetchText(w, text, o); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s *goIMAPSession) fetchText(w *imapserver.FetchResponseWriter, text content, o *imap.FetchOptions) error {
	all := func() io.Reader { return io.NewSectionReader(text, 0, text.Size()) }
	if o.Envelope {
		h, err := textproto.ReadHeader(bufio.NewReader(all()))
		if err != nil {
			return err
		}
		w.WriteEnvelope(imapserver.ExtractEnvelope(h))
	}
	if o.BodyStructure != nil {
		w.WriteBodyStructure(imapserver.ExtractBodyStructure(all()))
	}
	for _, item := range o.BodySection {
		from, size := int64(0), text.Size()
		if item.Specifier != imap.PartSpecifierNone {
			b := imapserver.ExtractBodySection(all(), item)
			body := w.WriteBodySection(item, int64(len(b)))
			body.Write(b)
			body.Close()
			continue
		}
		if p := item.Partial; p != nil {
			from, size = p.Offset, min(p.Size, size-p.Offset)
		}
		body := w.WriteBodySection(item, size)
		if _, err := io.Copy(body, io.NewSectionReader(text, from, size)); err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
	}
	return nil
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

// BenchmarkStore changes a flag of 10,000 messages by one command, over the store in memory.
func BenchmarkStore(b *testing.B) {
	f := newFixture(b)
	for range 10_000 {
		f.add("INBOX", simple)
	}
	c := f.selected("INBOX")
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	for i := 0; b.Loop(); i++ {
		c.send("a STORE 1:* " + "+-"[i%2:i%2+1] + `FLAGS.SILENT (\Flagged)`)
		c.until("a ")
	}
}
