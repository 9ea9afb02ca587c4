package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"mailcrypt/admin"
)

// terminal returns the terminal behind a stream.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// columns is how wide the terminal behind a stream is, 0 where there is none or it is not told.
func columns(stream any) int {
	fd, ok := terminal(stream)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return 0
	}
	return width
}

// colours reports whether standard output takes them (no-color.org).
func (t *tool) colours() bool {
	_, ok := terminal(t.stdout)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// progress shows on standard error, if that is a terminal, how far an operation has come,
// once it has taken a second. Call done before printing anything else.
func (t *tool) progress(ctx context.Context) (_ context.Context, done func()) {
	m := t.meter()
	if m == nil {
		return ctx, func() {}
	}
	return admin.WithProgress(ctx, m.show), m.done
}

// A meter shows progress. A nil one shows nothing.
type meter struct {
	w     io.Writer
	began time.Time
	last  time.Time
	shown bool
}

// meter returns nil where standard error is no terminal.
func (t *tool) meter() *meter {
	if _, ok := terminal(t.stderr); !ok {
		return nil
	}
	return &meter{w: t.stderr, began: time.Now()}
}

// show may be called often: it writes some four times a second.
func (m *meter) show(p admin.Progress) {
	if m == nil || time.Since(m.began) < time.Second || time.Since(m.last) < 200*time.Millisecond {
		return
	}
	m.shown, m.last = true, time.Now()
	text := clean(p.What)
	if p.Place != "" {
		text += " " + clean(p.Place)
	}
	if p.Total > 0 {
		text += fmt.Sprintf(" %d of %d (%d%%)", p.Done, p.Total, 100*p.Done/p.Total)
	} else {
		text += fmt.Sprintf(" %d", p.Done)
	}
	if width := columns(m.w); width > 1 && utf8.RuneCountInString(text) >= width {
		text = string([]rune(text)[:width-1]) // a second line could not be taken back
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", text)
}

func (m *meter) done() {
	if m != nil && m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}

// reader returns r, counting what is read, until ctx ends. total is 0 where it is not known.
func (m *meter) reader(ctx context.Context, r io.Reader, what string, total int64) io.Reader {
	return &counter{ctx, r, m, admin.Progress{What: what, Total: total}}
}

type counter struct {
	ctx context.Context
	r   io.Reader
	m   *meter
	p   admin.Progress
}

func (c *counter) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", admin.ErrCanceled, err)
	}
	n, err := c.r.Read(b)
	c.count(n)
	return n, err
}

func (c *counter) count(n int) {
	c.p.Done += int64(n)
	c.m.show(c.p)
}

// A fileCounter is a counter over a regular file that is read twice.
type fileCounter struct {
	counter
	f    *os.File
	size int64
}

func (c *fileCounter) Size() int64 { return c.size }

func (c *fileCounter) ReadAt(b []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", admin.ErrCanceled, err)
	}
	n, err := c.f.ReadAt(b, off)
	c.count(n)
	return n, err
}

// twice is reader for what is read first to verify and then to decrypt it, which must be
// able to be read again: a regular file stays one.
func (m *meter) twice(ctx context.Context, r io.Reader, what string) io.Reader {
	c := counter{ctx, r, m, admin.Progress{What: what}}
	f, ok := r.(*os.File)
	if !ok {
		return &c
	}
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return &c
	}
	c.p.Total = 2 * fi.Size()
	return &fileCounter{c, f, fi.Size()}
}
