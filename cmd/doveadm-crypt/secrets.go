package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"mailcrypt/admin"
)

// maxSecret bounds a password; login hashes take no more than some hundred bytes anyway.
const maxSecret = 4096

// errEnded reports that no password came.
var errEnded = usage("the input ended where a password was expected")

// lines reads one secret a line from a stream.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, maxSecret)} }

func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, usage("a password is longer than %d bytes", maxSecret)
	case err != nil && !(errors.Is(err, io.EOF) && len(line) > 0):
		return nil, errEnded
	}
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	secret := append([]byte(nil), line...)
	clear(line)
	return secret, nil
}

// ask gets one secret: from the terminal without echo, otherwise the next line of stdin.
func (t *tool) ask(ctx context.Context, prompt string) ([]byte, error) {
	if fd, ok := terminal(t.stdin); ok {
		return t.askTerminal(ctx, fd, prompt)
	}
	return t.stdinLine()
}

func (t *tool) stdinLine() ([]byte, error) {
	if t.in == nil {
		t.in = newLines(t.stdin)
	}
	return t.in.next()
}

// askTerminal gives the terminal its echo back however it ends.
func (t *tool) askTerminal(ctx context.Context, fd int, prompt string) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	type answer struct {
		secret []byte
		err    error
	}
	got := make(chan answer, 1)
	fmt.Fprint(t.stderr, prompt+": ")
	go func() {
		secret, err := term.ReadPassword(fd)
		got <- answer{secret, err}
	}()
	select {
	case a := <-got:
		fmt.Fprintln(t.stderr)
		if a.err != nil {
			return nil, usage("reading the password: %v", a.err)
		}
		return a.secret, nil
	case <-ctx.Done(): // the reader is left behind; the program ends
		fmt.Fprintln(t.stderr)
		return nil, errors.Join(fmt.Errorf("%w: no password was given", admin.ErrCanceled), term.Restore(fd, before))
	}
}

// askNew gets a new secret; at a terminal twice.
func (t *tool) askNew(ctx context.Context, prompt string) ([]byte, error) {
	secret, err := t.ask(ctx, prompt)
	if err != nil {
		return nil, err
	}
	if _, ok := terminal(t.stdin); ok {
		again, err := t.ask(ctx, "Once more")
		if err != nil {
			return nil, err
		}
		defer clear(again)
		if string(again) != string(secret) {
			clear(secret)
			return nil, usage("the two passwords differ")
		}
	}
	return secret, nil
}

// fromFile reads a secret from the first line of a file; "-" is standard input.
func (t *tool) fromFile(name string) ([]byte, error) {
	if name == "-" {
		return t.stdinLine()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("%v", err)
	}
	defer f.Close()
	secret, err := newLines(f).next()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, name)
	}
	return secret, nil
}

// fromFD reads a secret from a file descriptor that the caller has opened.
func fromFD(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
	if fd < 3 || f == nil {
		return nil, usage("a password comes from a file descriptor of 3 or more; for standard input leave the option out")
	}
	defer f.Close()
	secret, err := newLines(f).next()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, f.Name())
	}
	return secret, nil
}
