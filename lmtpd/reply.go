package lmtpd

import (
	"bytes"
	"fmt"
	"time"
)

// reply sends a line of our own.
func (w *wire) reply(line string) error {
	w.Conn.SetWriteDeadline(time.Now().Add(w.srv.o.CommandTimeout))
	return w.send([]byte(line+"\r\n"), false)
}

// send writes an answer, with those that were held back before it. One that may be held back
// is, where another command has come already: its answer goes with it (RFC 2920 section 3.2).
func (w *wire) send(answer []byte, hold bool) error {
	w.held = append(w.held, answer...)
	if hold && len(w.held) < maxHeld {
		next, _ := w.br.Peek(w.br.Buffered())
		if bytes.IndexByte(next, '\n') >= 0 {
			return nil
		}
	}
	return w.flush()
}

// flush sends the answers that were held back.
func (w *wire) flush() error {
	if len(w.held) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.held)
	w.held = w.held[:0]
	return err
}

// Write sends what go-smtp answers, a line at a time.
func (w *wire) Write(p []byte) (int, error) {
	w.answered = true
	last := len(p) > 3 && p[3] == ' '
	if w.swallow > 0 {
		if last {
			w.swallow--
		}
		return len(p), nil
	}
	out := p
	ok := bytes.HasPrefix(p, []byte("250"))
	switch {
	case w.verb == "DATA" && bytes.HasPrefix(p, []byte("354 ")):
		w.inData = true
	case w.verb == "LHLO" && ok && !last:
		return len(p), nil // ours come with the last line
	case w.verb == "LHLO" && ok:
		out = w.capabilities()
	case w.verb == "MAIL" && ok:
		out = []byte("250 2.1.0 OK\r\n")
	case w.verb == "RCPT" && ok:
		out = []byte("250 2.1.5 OK\r\n")
	case bytes.HasPrefix(p, []byte("421 4.4.2 ")) && w.isClosing():
		out = []byte("421 4.3.2 Shutting down\r\n")
	default:
		out = bytes.ReplaceAll(p, []byte(noHost+">"), []byte(">"))
	}
	// Of these nothing else touches br meanwhile, and another answer is sure to come.
	if err := w.send(out, last && (w.verb == "MAIL" || w.verb == "RCPT")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// capabilities is the answer to LHLO.
func (w *wire) capabilities() []byte {
	o := &w.srv.o
	b := fmt.Appendf(nil, "250-%s\r\n", o.Hostname)
	for _, c := range []string{"8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "PIPELINING", "SMTPUTF8"} {
		b = fmt.Appendf(b, "250-%s\r\n", c)
	}
	b = fmt.Appendf(b, "250-LIMITS RCPTMAX=%d\r\n", o.MaxRecipients)
	if o.TLSConfig != nil && !w.isTLS() {
		b = append(b, "250-STARTTLS\r\n"...)
	}
	if o.MaxMessageSize > 0 {
		return fmt.Appendf(b, "250 SIZE %d\r\n", o.MaxMessageSize)
	}
	return append(b, "250 SIZE\r\n"...)
}
