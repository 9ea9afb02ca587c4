package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"mailcrypt/admin"
)

// maxSecret bounds a password; login hashes take no more than some hundred bytes anyway.
const maxSecret = 4096

// lines reads one secret a line from a stream.
type lines struct{ r *bufio.Reader }

func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a password is longer than %d bytes", admin.ErrUsage, maxSecret)
	case err != nil && !(errors.Is(err, io.EOF) && len(line) > 0):
		return nil, fmt.Errorf("%w: the input ended where a password was expected", admin.ErrUsage)
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
func (t *tool) ask(prompt string) ([]byte, error) {
	if f, ok := t.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(t.stderr, prompt+": ")
		secret, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(t.stderr)
		if err != nil {
			return nil, fmt.Errorf("%w: reading the password: %w", admin.ErrUsage, err)
		}
		return secret, nil
	}
	if t.in == nil {
		t.in = &lines{bufio.NewReaderSize(t.stdin, maxSecret)}
	}
	return t.in.next()
}

// askNew gets a new secret; at a terminal twice.
func (t *tool) askNew(prompt string) ([]byte, error) {
	secret, err := t.ask(prompt)
	if err != nil {
		return nil, err
	}
	if f, ok := t.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		again, err := t.ask("Once more")
		if err != nil {
			return nil, err
		}
		defer clear(again)
		if string(again) != string(secret) {
			return nil, fmt.Errorf("%w: the two passwords differ", admin.ErrUsage)
		}
	}
	return secret, nil
}

// fromFile reads a secret from the first line of a file.
func fromFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrUsage, err)
	}
	defer f.Close()
	secret, err := (&lines{bufio.NewReaderSize(f, maxSecret)}).next()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return secret, nil
}
