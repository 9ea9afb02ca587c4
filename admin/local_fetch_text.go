package admin

import (
	"context"
	"fmt"
	"io"

	"mailcrypt/internal/crlf"
	"mailcrypt/storage"
)

// pieceSize is how much of a message is in memory at a time, and in a line of the protocol.
const pieceSize = 64 << 10

// giveOut writes the part that was asked for. What has been opened has been verified from end
// to end; a message whose file changes only now ends in an error.
func (f *fetcher) giveOut(ctx context.Context, m *storage.Message, w io.Writer) error {
	out := &counter{w: w}
	defer func() { f.result.Bytes = out.n }()
	to := io.Writer(out)
	if sizes := m.Sizes(); !f.r.CRLF && sizes.Physical != sizes.Virtual {
		lf := crlf.NewLFWriter(out)
		defer lf.Clear()
		to = lf
	}
	var edge edge
	piece := make([]byte, pieceSize)
	defer clear(piece)
	for at := int64(0); at < m.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := m.ReadAt(piece, at)
		if err != nil && err != io.EOF {
			return f.unreadable(err)
		}
		at += int64(n)
		header := edge.find(piece[:n])
		part := piece[:n]
		switch f.r.Part {
		case PartHeader:
			part = part[:header]
		case PartBody:
			part = part[header:]
		}
		if len(part) > 0 {
			if _, err := to.Write(part); err != nil {
				return fmt.Errorf("admin: giving out the message: %w", err)
			}
		}
		if f.r.Part == PartHeader && edge.found {
			return nil
		}
		f.report.report(Progress{What: "reading", Place: f.box.Name(), Done: at, Total: m.Size()})
	}
	return nil
}

// A counter counts what comes through.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// An edge finds the end of a header in pieces of a text with CRLF line ends: the first empty
// line, which is the header's.
type edge struct {
	text  bool // the present line is more than its end
	cr    bool // it has begun with a CR
	found bool
}

// find returns how much of a piece is header.
func (e *edge) find(p []byte) int {
	if e.found {
		return 0
	}
	for i, c := range p {
		switch {
		case c == '\n':
			if !e.text {
				e.found = true
				return i + 1
			}
			e.text, e.cr = false, false
		case c == '\r' && !e.cr:
			e.cr = true
		default:
			e.text = true
		}
	}
	return len(p)
}
