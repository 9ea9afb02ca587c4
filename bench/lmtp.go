package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
)

// An lmtpClient delivers mail as Postfix does: one connection for many, envelopes pipelined.
type lmtpClient struct {
	c net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func dialLMTP(address string) (*lmtpClient, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &lmtpClient{c: conn, r: bufio.NewReader(conn), w: bufio.NewWriterSize(conn, 64<<10)}
	if err = c.expect("220"); err == nil {
		c.w.WriteString("LHLO bench.example\r\n")
		if err = c.w.Flush(); err == nil {
			err = c.expect("250")
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// expect reads one answer of any number of lines.
func (c *lmtpClient) expect(code string) error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("bench: LMTP: %w", err)
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("bench: LMTP: %.200s", line)
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}

// deliver sends a mail, no line of which begins with a dot.
func (c *lmtpClient) deliver(user string, mail []byte) error {
	fmt.Fprintf(c.w, "MAIL FROM:<sender@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n", user)
	if err := c.w.Flush(); err != nil {
		return err
	}
	for _, code := range []string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	c.w.Write(mail)
	c.w.WriteString(".\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	return c.expect("250")
}

func (c *lmtpClient) quit() {
	c.w.WriteString("QUIT\r\n")
	c.w.Flush()
	c.expect("221")
	c.c.Close()
}
