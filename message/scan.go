package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

const (
	// maxBoundary is where a boundary is cut off. RFC 2046 allows 70 bytes.
	maxBoundary = 80
	// lookahead is what must be in sight to tell whether a line is a boundary line:
	// two dashes, the boundary, two dashes, and how the line ends.
	lookahead = 2 + maxBoundary + 2 + 2
)

// A boundary is one that may come up in the text, with the multipart that it is of.
type boundary struct {
	text string
	part *Part
}

type scanner struct {
	w      *window
	l      Limits
	open   []*Part // the top part and down to the current one
	bounds []boundary
	parts  int
	// opaque says that no more parts are to be opened, so no boundary matters.
	opaque  bool
	headers int64 // bytes of all headers
	memory  int64 // what the result may still hold
}

// Scan finds all parts of the message in the first size bytes of r. It reads r once
// from front to end through a window of 64 KiB, in time linear in size. The error is
// one of reading: any bytes are a message.
func Scan(r io.ReaderAt, size int64, l Limits) (*Part, error) {
	l = l.withDefaults()
	s := &scanner{w: newWindow(r, size), l: l, memory: l.Memory}
	top := s.push()
	s.scan(top)
	if s.w.err != nil {
		return nil, fmt.Errorf("message: reading at %d: %w", s.w.pos+int64(len(s.w.buf)), s.w.err)
	}
	return top, nil
}

func (l Limits) withDefaults() Limits {
	l.Depth = orDefault(l.Depth, 100)
	l.Parts = orDefault(l.Parts, 10_000)
	l.HeaderBytes = orDefault(l.HeaderBytes, 10<<20)
	l.AllHeaders = orDefault(l.AllHeaders, 50<<20)
	l.Params = orDefault(l.Params, 100)
	l.Addresses = orDefault(l.Addresses, 10_000)
	l.Memory = orDefault(l.Memory, 32<<20)
	return l
}

func orDefault[T int | int64](n, def T) T {
	if n <= 0 {
		return def
	}
	return n
}

func (s *scanner) current() *Part { return s.open[len(s.open)-1] }

// push opens a part at the current position.
func (s *scanner) push() *Part {
	s.parts++
	p := &Part{HeaderStart: s.w.pos, End: -1}
	s.open = append(s.open, p)
	return p
}

// scan reads the message from the header of the top part to the end.
func (s *scanner) scan(next *Part) {
	for {
		var b *boundary
		newline := 0 // of the line end before b, if it is in the body above
		for next != nil && b == nil {
			b, next = s.header(next)
		}
		if b == nil {
			b, newline = s.body()
		}
		if b == nil {
			s.finish(nil, s.w.pos, s.w.lines)
			return
		}
		next = s.boundaryLine(b, newline)
	}
}

// finish ends all open parts below stop, or all.
func (s *scanner) finish(stop *Part, pos, lines int64) {
	for len(s.open) > 0 && s.current() != stop {
		s.current().close(pos, lines)
		s.open = s.open[:len(s.open)-1]
	}
}

// close notes where a part ends. Lines holds the count at its body's start until now.
func (p *Part) close(pos, lines int64) {
	if p.End < 0 {
		p.End = pos
		p.Lines = lines - p.Lines
	}
}

// body reads the current part's body up to a boundary line, of which nothing is
// consumed, or to the end, which gives nil. newline is the size of the line end
// before the boundary, if it belongs to the body.
func (s *scanner) body() (b *boundary, newline int) {
	for {
		if s.opaque && len(s.bounds) > 0 {
			s.current().Cut = true
			s.bounds = nil
		}
		if len(s.bounds) == 0 {
			s.w.skipRest()
			return nil, 0
		}
		if b := s.atBoundary(); b != nil {
			return b, newline
		}
		if newline = s.w.skipLine(); newline == 0 {
			return nil, 0
		}
	}
}

// atBoundary returns the boundary that the line at the current position is of, or
// nil. Only the line's beginning has to match, so of several the longest counts and
// of equal ones the innermost (RFC 2046 section 5.1.2).
func (s *scanner) atBoundary() *boundary {
	line := s.w.peek(lookahead)
	if len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return nil
	}
	if s.opaque {
		return nil
	}
	line = line[2:]
	ends := false // the line is whole and ends in two dashes
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = bytes.TrimSuffix(line[:i], cr)
		ends = len(line) > 2 && bytes.HasSuffix(line, dashes)
	}
	var best *boundary
	for i := len(s.bounds) - 1; i >= 0; i-- {
		b := &s.bounds[i]
		n := len(b.text)
		if n > len(line) || best != nil && n <= len(best.text) || string(line[:n]) != b.text {
			continue
		}
		// "--foo--" may be the end of foo or the beginning of a boundary "foo--"; what
		// fits exactly cannot be bettered.
		best = b
		if n == len(line) || ends && n == len(line)-2 {
			break
		}
	}
	return best
}

var dashes = []byte("--")

// boundaryLine consumes a boundary line. It ends the parts that the boundary ends and
// returns the part that begins, if one does.
func (s *scanner) boundaryLine(b *boundary, newline int) *Part {
	part := b.part
	n := len(b.text)
	last := bytes.HasPrefix(s.w.peek(lookahead)[2+n:], dashes)
	lines := s.w.lines
	if newline > 0 {
		lines--
	}
	s.finish(part, s.w.pos-int64(newline), lines)
	for i := range s.bounds {
		if s.bounds[i].part == part {
			if !last {
				i++
			}
			s.bounds = s.bounds[:i]
			break
		}
	}
	if s.w.skipLine() == 0 || last {
		return nil // at the end, or the epilogue
	}
	child := s.push()
	part.Children = append(part.Children, child)
	s.full()
	return child
}

// full makes the rest opaque when there are as many parts as may be.
func (s *scanner) full() {
	if s.parts >= s.l.Parts {
		s.opaque = true
	}
}

// header reads the header of p, which has just been opened. It returns the boundary
// line that it ran into, if any, and the embedded message whose header comes next if
// p is a message/rfc822.
func (s *scanner) header(p *Part) (b *boundary, inner *Part) {
	mime := len(s.open) > 1 && s.open[len(s.open)-2].Message != p
	f := fields{p: p, s: s, mime: mime}
	if !mime {
		p.Envelope = new(Envelope)
	}
	start, startLines := s.w.pos, s.w.lines
	newline := s.headerLines(&f)
	pos, lines := s.w.pos, s.w.lines
	if len(s.bounds) > 0 {
		if b = s.atBoundary(); b != nil && b.part == p {
			b = nil // the body begins with the part's own boundary
		}
	}
	if b != nil && newline > 0 {
		// The line end before a boundary line belongs to it, so not to this header.
		pos -= int64(newline)
		lines--
	}
	p.BodyStart = pos
	p.HeaderLines = lines - startLines
	p.Lines = lines
	if s.headers += pos - start; s.headers > s.l.AllHeaders {
		s.opaque = true
	}
	if b != nil {
		p.close(pos, lines)
	}
	f.end(s.digest(p))
	if !f.rfc822 {
		return b, nil
	}
	if len(s.open) >= s.l.Depth || s.opaque {
		f.makeOpaque()
		return b, nil
	}
	inner = s.push()
	p.Message = inner
	s.full()
	if b != nil {
		// An embedded message of no bytes: the boundary comes at once.
		inner.HeaderStart, inner.BodyStart = pos, pos
		inner.Lines = lines
		inner.Envelope = new(Envelope)
		inner.Type, inner.Subtype = "text", "plain"
		inner.close(pos, lines)
		return b, nil
	}
	return nil, inner
}

// digest reports whether p is a child of a multipart/digest.
func (s *scanner) digest(p *Part) bool {
	if len(s.open) < 2 {
		return false
	}
	parent := s.open[len(s.open)-2]
	return parent.Message != p && strings.EqualFold(parent.Subtype, "digest")
}

// headerLines reads header lines up to the end of the header or a boundary line. It
// returns the size of the last line end that it consumed.
func (s *scanner) headerLines(f *fields) (newline int) {
	var (
		line   []byte // the field being collected
		budget = s.l.HeaderBytes
	)
	flush := func() {
		if line != nil {
			f.field(line)
			line = nil
		}
	}
	defer flush()
	for first := true; ; first = false {
		ahead := s.w.peek(lookahead)
		if len(ahead) == 0 {
			return newline
		}
		if n := lineEndAt(ahead); n > 0 {
			flush()
			f.openBoundary()
			s.w.skip(n)
			return n
		}
		if len(s.bounds) > 0 && s.atBoundary() != nil {
			return newline
		}
		if !first && (ahead[0] == ' ' || ahead[0] == '\t') {
			line, newline = s.headerLine(line, line != nil, &budget)
		} else {
			flush()
			line, newline = s.headerLine(nil, true, &budget)
		}
		if newline == 0 {
			return 0
		}
	}
}

// lineEndAt returns the size of the line end that b begins with, or 0.
func lineEndAt(b []byte) int {
	switch {
	case b[0] == '\n':
		return 1
	case b[0] == '\r' && len(b) > 1 && b[1] == '\n':
		return 2
	}
	return 0
}

// headerLine consumes one line and appends it with its line end to dst, if it is of
// a field that matters and within the budget; a field that goes beyond is dropped.
func (s *scanner) headerLine(dst []byte, keep bool, budget *int64) (_ []byte, newline int) {
	first := dst == nil
	newline = s.w.line(func(b []byte) {
		if *budget -= int64(len(b)); *budget < 0 {
			keep, dst = false, nil
		}
		if keep && first {
			keep = matters(b)
		}
		first = false
		if keep {
			dst = append(dst, b...)
		}
	})
	return dst, newline
}
