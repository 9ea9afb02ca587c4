package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
)

// An imapClient speaks IMAP at little cost: it does not parse what it is told but for
// literals, which it skips or hands out.
type imapClient struct {
	c   net.Conn
	r   *bufio.Reader
	w   *bufio.Writer
	lit []byte
	tag int
}

// A reply is what came before the tagged line of a command.
type reply struct {
	fetches int    // untagged FETCH responses
	bytes   int64  // in literals
	search  int    // numbers in SEARCH responses
	exists  int    // of the last EXISTS
	line    string // the tagged one
}

// lineLimit is the longest line: an answer to SEARCH names all messages in one.
const lineLimit = 1 << 20

func dialIMAP(address string, t *tls.Config) (*imapClient, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if t != nil {
		conn = tls.Client(conn, t)
	}
	c := &imapClient{c: conn, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriterSize(conn, 64<<10)}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		conn.Close()
		return nil, fmt.Errorf("bench: greeting of IMAP: %w", err)
	}
	return c, nil
}

// loginIMAP opens a session and, where box is not empty, selects it.
func loginIMAP(address, user, box string) (*imapClient, error) {
	c, err := dialIMAP(address, nil)
	if err != nil {
		return nil, err
	}
	if _, err = c.do("LOGIN "+user+" "+password, nil); err == nil && box != "" {
		_, err = c.do("SELECT "+box, nil)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *imapClient) close() { c.c.Close() }

func (c *imapClient) logout() error {
	defer c.close()
	_, err := c.do("LOGOUT", nil)
	return err
}

// do sends a command and wants OK. each, where set, sees every literal of the answer while it
// lasts.
func (c *imapClient) do(command string, each func(literal []byte) error) (reply, error) {
	c.tag++
	tag := "a" + strconv.Itoa(c.tag)
	c.w.WriteString(tag)
	c.w.WriteByte(' ')
	c.w.WriteString(command)
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return reply{}, err
	}
	return c.await(tag, command, each)
}

// await reads to the tagged line.
func (c *imapClient) await(tag, command string, each func(literal []byte) error) (reply, error) {
	var a reply
	prefix := []byte(tag + " ")
	for first := true; ; {
		line, err := c.line()
		if err != nil {
			return a, fmt.Errorf("bench: answer to %.40s: %w", command, err)
		}
		if first {
			if bytes.HasPrefix(line, prefix) {
				a.line = string(line[len(prefix):])
				if !bytes.HasPrefix(line[len(prefix):], []byte("OK")) {
					return a, fmt.Errorf("bench: answer to %.40s: %.200s", command, a.line)
				}
				return a, nil
			}
			a.note(line)
		}
		n, ok := literalSize(line)
		if first = !ok; ok {
			a.bytes += n
			if err := c.literal(n, each); err != nil {
				return a, err
			}
		}
	}
}

// line reads a line, which is valid until the next read.
func (c *imapClient) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	long := bytes.Clone(line)
	for err == bufio.ErrBufferFull && len(long) < lineLimit {
		line, err = c.r.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

func (c *imapClient) literal(n int64, each func([]byte) error) error {
	if each == nil {
		_, err := io.CopyN(io.Discard, c.r, n)
		return err
	}
	if n > 64<<20 {
		return fmt.Errorf("bench: a literal of %d bytes", n)
	}
	if int64(cap(c.lit)) < n {
		c.lit = make([]byte, n)
	}
	if _, err := io.ReadFull(c.r, c.lit[:n]); err != nil {
		return err
	}
	return each(c.lit[:n])
}

// note counts an untagged response.
func (a *reply) note(line []byte) {
	rest, ok := bytes.CutPrefix(line, []byte("* "))
	if !ok {
		return
	}
	word, rest, _ := bytes.Cut(withoutEnd(rest), []byte(" "))
	switch {
	case string(word) == "SEARCH":
		a.search += len(bytes.Fields(rest))
	case bytes.HasPrefix(rest, []byte("FETCH ")):
		a.fetches++
	case string(rest) == "EXISTS":
		a.exists, _ = strconv.Atoi(string(word))
	}
}

// withoutEnd is a line without CRLF.
func withoutEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// literalSize finds {n} at the end of a line.
func literalSize(line []byte) (int64, bool) {
	line = withoutEnd(line)
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[i+1:len(line)-1]), 10, 64)
	return n, err == nil && n >= 0
}

// appendMail saves mails by one APPEND, with MULTIAPPEND where they are several.
func (c *imapClient) appendMail(box string, mails [][]byte) error {
	c.tag++
	tag := "a" + strconv.Itoa(c.tag)
	fmt.Fprintf(c.w, "%s APPEND %s", tag, box)
	for _, m := range mails {
		fmt.Fprintf(c.w, " {%d+}\r\n", len(m))
		c.w.Write(m)
	}
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	_, err := c.await(tag, "APPEND", nil)
	return err
}
