package lmtpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	// maxCommand is the longest command line, in bytes; go-smtp then answers in lines
	// that fit its buffer, so that each comes in one Write. RFC 5321 allows 512.
	maxCommand = 3000
	// bufferSize is what is read at a time, and beyond which a line ends the connection.
	bufferSize = 64 << 10
	// maxHeld is what answers may wait for others to be sent with, in bytes.
	maxHeld = 4 << 10
)

// noHost stands for the missing domain of an address, for go-smtp takes none without.
// Dovecot's users may be plain names.
const noHost = "@."

// A wire is a connection as go-smtp sees it. It stands between the two because
// go-smtp's own reading of a message is not exact: it does not see the end of data
// after a line that ends in CR CRLF, loses the CR of a line ".\rX", and takes a BDAT
// chunk that was cut off for a whole one. So the wire hands it one command line at a
// time, keeps the text after DATA to itself, and cleans up both directions:
//
//   - command lines are bounded, whatever the limit of lines in a message;
//   - STARTTLS is done here, so that what is below stays the wire;
//   - a connection that ends within a chunk is an error, not an end;
//   - answers to LHLO, MAIL and RCPT read as Dovecot's.
//
// Read and Write are called by one goroutine at a time, as go-smtp does.
type wire struct {
	net.Conn // the TLS connection, once there is one
	srv      *Server
	raw      net.Conn
	br       *bufio.Reader

	verb      string // of the command being answered, in capitals
	held      []byte // answers that are to be sent with the next one
	pending   []byte // what go-smtp has yet to read of the command
	chunk     int64  // bytes of a BDAT chunk it has yet to read
	inData    bool   // DATA was accepted and its text not yet read
	last      bool   // no command may follow
	noChunks  bool   // no BDAT may follow
	answered  bool   // go-smtp has replied to the command
	needHello bool   // TLS has begun and LHLO has not come again
	swallow   int    // replies that the client is not to see

	mu      sync.Mutex
	waiting bool          // for a command
	closing bool          // the server shuts down
	started chan struct{} // closed when LMTPData takes the chunks of a message; nil without
}

func newWire(s *Server, c net.Conn) *wire {
	c.SetDeadline(time.Now().Add(s.o.CommandTimeout)) // for a handshake, if c is TLS
	return &wire{Conn: c, srv: s, raw: c, br: bufio.NewReaderSize(c, bufferSize)}
}

// isTLS reports whether the client speaks TLS, by STARTTLS or from the beginning.
func (w *wire) isTLS() bool {
	_, ok := w.Conn.(*tls.Conn)
	return ok
}

// A cutError ends the connection. It is net.ErrClosed to go-smtp, which closes
// without a word then.
type cutError struct{}

func (cutError) Error() string   { return errCut.Error() }
func (cutError) Unwrap() []error { return []error{errCut, net.ErrClosed} }

// A shutdownError is a timeout to go-smtp, which says 421 and closes.
type shutdownError struct{}

func (shutdownError) Error() string   { return "lmtpd: shutting down" }
func (shutdownError) Timeout() bool   { return true }
func (shutdownError) Temporary() bool { return true }

// Read gives go-smtp what it may see: the rest of one command line, or of a chunk.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.pending) == 0 {
		if w.chunk > 0 {
			return w.readChunk(p)
		}
		line, err := w.readLine()
		if err != nil {
			return 0, err
		}
		if err := w.command(line); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.pending)
	w.pending = w.pending[n:]
	return n, nil
}

// readChunk reads of a chunk. go-smtp has LMTPData take chunks in a goroutine, and does
// not wait for it to begin: if the connection ended first, that would find no session and
// panic. Where go-smtp drops the chunk instead, it has answered before.
func (w *wire) readChunk(p []byte) (int, error) {
	if started := w.chunks(); started != nil && !w.answered {
		<-started
	}
	w.Conn.SetReadDeadline(time.Now().Add(w.srv.o.DataTimeout))
	n, err := w.br.Read(p[:min(int64(len(p)), w.chunk)])
	w.chunk -= int64(n)
	if err != nil {
		w.last = true // what comes later is not a command
		err = cutError{}
	}
	return n, err
}

// readLine reads one command line, with its line end.
func (w *wire) readLine() ([]byte, error) {
	if w.last {
		return nil, io.EOF
	}
	if !w.wait(true) {
		return nil, shutdownError{}
	}
	line, err := w.br.ReadSlice('\n')
	if !w.wait(false) && err != nil {
		return nil, shutdownError{}
	}
	switch {
	case err == nil:
		return line, nil
	case errors.Is(err, bufio.ErrBufferFull):
		w.last = true
		return nil, smtp.ErrTooLongLine
	default:
		w.last = true // half a command is none
		return nil, err
	}
}

// wait notes whether a command is being waited for; it is false once the server
// shuts down.
func (w *wire) wait(on bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = on
	return !w.closing
}

func (w *wire) isClosing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// shutdown ends the connection as soon as no command is being worked on.
func (w *wire) shutdown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	if w.waiting {
		w.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close closes the connection. It may be called at any time.
func (w *wire) Close() error {
	w.mu.Lock()
	c := w.Conn
	w.mu.Unlock()
	w.srv.remove(w)
	return c.Close()
}

// command takes one command line and leaves in pending what go-smtp is to see of it.
func (w *wire) command(line []byte) error {
	text := strings.TrimRight(string(line), "\r\n")
	if len(text) > maxCommand {
		return w.reply("500 5.5.2 Command line too long")
	}
	verb, arg, _ := strings.Cut(text, " ")
	w.verb, w.answered = strings.ToUpper(verb), false
	switch w.verb {
	case "LHLO":
		w.needHello = false
	case "STARTTLS":
		if w.srv.o.TLSConfig != nil && !w.isTLS() {
			return w.startTLS()
		}
	case "MAIL":
		if w.needHello {
			return w.reply("503 5.5.1 LHLO needed first")
		}
		text = clampSize(addHost(text))
	case "RCPT":
		text = addHost(text)
	case "BDAT":
		return w.bdat(text, arg)
	}
	w.pending = append([]byte(text), "\r\n"...)
	return nil
}

// bdat finds out how many bytes follow. If go-smtp would not know either, nothing
// after the line can be understood: the connection ends with its reply.
func (w *wire) bdat(text, arg string) error {
	if w.noChunks {
		w.last = true
		return w.reply("421 4.3.0 Chunks were broken off, start again")
	}
	args := strings.Fields(arg)
	var size uint64
	err := errors.New("no size")
	if len(args) == 1 || len(args) == 2 && strings.EqualFold(args[1], "LAST") {
		size, err = strconv.ParseUint(args[0], 10, 32)
	}
	switch {
	case err != nil || !strings.HasPrefix(text[4:], " "):
		w.last = true
	case size == 0 && len(args) == 1:
		// Nothing to hand on, and go-smtp would start a delivery that may not have
		// begun to read when the next command resets it.
		w.verb, text = "NOOP", "NOOP"
	}
	w.chunk = int64(size)
	if w.last {
		w.chunk = 0
	}
	if w.chunk > 0 {
		if err := w.flush(); err != nil { // the chunk may not have come yet
			return err
		}
		w.mu.Lock()
		if w.started == nil {
			w.started = make(chan struct{})
		}
		w.mu.Unlock()
	}
	w.pending = append([]byte(text), "\r\n"...)
	return nil
}

// chunks returns the channel that is closed once LMTPData takes chunks, if any are sent.
func (w *wire) chunks() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started
}

// receiving is called when LMTPData begins.
func (w *wire) receiving() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started == nil {
		return
	}
	select {
	case <-w.started:
	default:
		close(w.started)
	}
}

// noMessage is called when a transaction is over: the next chunk begins another.
func (w *wire) noMessage() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = nil
}

// startTLS begins TLS and makes go-smtp forget what it was told before. Plaintext
// that came with the command is thrown away (CVE-2021-33515 and its kin).
func (w *wire) startTLS() error {
	if err := w.reply("220 2.0.0 Ready to start TLS"); err != nil {
		return err
	}
	w.br.Reset(w.raw)
	c := tls.Server(w.raw, w.srv.o.TLSConfig)
	c.SetDeadline(time.Now().Add(w.srv.o.CommandTimeout))
	if err := c.Handshake(); err != nil {
		w.last = true
		return cutError{}
	}
	c.SetDeadline(time.Time{})
	w.mu.Lock()
	w.Conn = c
	w.mu.Unlock()
	w.br.Reset(c)
	w.needHello = true
	w.verb, w.swallow, w.pending = "RSET", 1, []byte("RSET\r\n")
	c.SetReadDeadline(time.Now().Add(w.srv.o.CommandTimeout))
	return nil
}

// body returns the text of the DATA command that was just accepted, or nil if the
// message comes in chunks.
func (w *wire) body() *dataReader {
	if !w.inData {
		return nil
	}
	w.inData = false
	// What go-smtp reads afterwards, to be sure that the text is consumed.
	w.pending = []byte(".\r\n")
	return &dataReader{r: w.br, before: func() {
		w.Conn.SetReadDeadline(time.Now().Add(w.srv.o.DataTimeout))
	}}
}

// addHost gives the path of a MAIL or RCPT command a host if it has none.
func addHost(line string) string {
	open := strings.IndexByte(line, '<')
	if open < 0 {
		return line
	}
	quoted := false
	for i := open + 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '@':
			return line
		case c == '>':
			if i == open+1 {
				return line // <>
			}
			return line[:i] + noHost + line[i:]
		}
	}
	return line
}

// clampSize makes a SIZE that go-smtp cannot read the largest that it can, so that it
// is refused as too large.
func clampSize(line string) string {
	i := strings.LastIndex(strings.ToUpper(line), " SIZE=")
	if i < 0 {
		return line
	}
	i += len(" SIZE=")
	n := len(line[i:]) - len(strings.TrimLeft(line[i:], "0123456789"))
	if n < 10 {
		return line
	}
	return line[:i] + "4294967295" + line[i+n:]
}
