package haproxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// oneConn is a connection that sends what it has, in pieces, and ends.
type oneConn struct {
	net.Conn
	in    *bytes.Reader
	piece int
}

func (c *oneConn) Read(p []byte) (int, error) { return c.in.Read(p[:min(len(p), c.piece)]) }
func (c *oneConn) RemoteAddr() net.Addr       { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// header2 is a header of version 2 with this command, family and length, and so many octets.
func header2(command, family byte, length uint16, rest int) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return append(binary.BigEndian.AppendUint16(b, length), make([]byte, rest)...)
}

// FuzzHeader gives any octets: no panic, and what is accepted has an address of TCP and loses
// nothing of what comes behind the header, whatever the pieces.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.7 192.0.2.1 1234 993\r\na NOOP\r\n", "PROXY UNKNOWN\r\nx", "PROXY TCP4 1 2 3 4\r\n", "PROXY ", "a NOOP\r\n",
		"PROXY TCP6 ::1 ::1 99999 -1\r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 993\nx"} {
		f.Add([]byte(s), uint8(7))
	}
	for _, b := range [][]byte{header2(0x21, 0x11, 12, 12), header2(0x20, 0, 0, 5), header2(0x21, 0x11, 65535, 65535), header2(0x21, 0x11, 65535, 20),
		header2(0x21, 0x21, 36, 36), header2(0x21, 0x31, 216, 216), header2(0x21, 0x11, 3, 3), header2(0x2f, 0xff, 12, 12), header2(0x21, 0x11, 15, 200)} {
		f.Add(b, uint8(255))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		l := &listener{o: Options{TrustTLS: true}}
		c, err := l.read(&oneConn{in: bytes.NewReader(in), piece: max(1, int(piece))})
		if err != nil {
			return
		}
		if _, ok := c.RemoteAddr().(*net.TCPAddr); !ok {
			t.Errorf("address %v", c.RemoteAddr())
		}
		rest, err := io.ReadAll(c)
		if err != nil || !bytes.HasSuffix(in, rest) || len(rest) == len(in) {
			t.Errorf("%d octets behind a header in %d, %v", len(rest), len(in), err)
		}
		if len(in)-len(rest) > 16+1<<16 {
			t.Errorf("a header of %d octets", len(in)-len(rest))
		}
	})
}
