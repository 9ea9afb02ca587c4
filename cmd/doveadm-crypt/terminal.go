package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

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

// colours reports whether standard output takes them (no-color.org).
func (t *tool) colours() bool {
	_, ok := terminal(t.stdout)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// progress shows on standard error, if that is a terminal, how far an operation has come,
// once it has taken a second. Call done before printing anything else.
func (t *tool) progress(ctx context.Context) (_ context.Context, done func()) {
	if _, ok := terminal(t.stderr); !ok {
		return ctx, func() {}
	}
	m := &meter{w: t.stderr, began: time.Now()}
	return admin.WithProgress(ctx, m.show), m.done
}

type meter struct {
	w     io.Writer
	began time.Time
	shown bool
}

func (m *meter) show(p admin.Progress) {
	if time.Since(m.began) < time.Second {
		return
	}
	m.shown = true
	text := clean(p.What)
	if p.Place != "" {
		text += " " + clean(p.Place)
	}
	if p.Total > 0 {
		text += fmt.Sprintf(" %d of %d (%d%%)", p.Done, p.Total, 100*p.Done/p.Total)
	} else {
		text += fmt.Sprintf(" %d", p.Done)
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", text)
}

func (m *meter) done() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}
