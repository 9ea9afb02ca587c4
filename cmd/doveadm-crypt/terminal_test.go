package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailcrypt/admin"
)

// openTerminal makes a pseudo terminal.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	var n int
	err = control(person, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// control calls fn with the descriptor, and leaves the file as it is.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	return errors.Join(c.Control(func(fd uintptr) { inner = fn(int(fd)) }), inner)
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	var s *unix.Termios
	if err := control(f, func(fd int) (err error) { s, err = unix.IoctlGetTermios(fd, unix.TCGETS); return err }); err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// waitEcho waits until the terminal does, or does not, echo.
func waitEcho(t *testing.T, f *os.File, want bool) {
	t.Helper()
	for range 1000 {
		if echoes(t, f) == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the terminal's echo does not become %v", want)
}

// safeBuffer is written by one goroutine and read by another.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestTerminal types a new password twice, once with a slip.
func TestTerminal(t *testing.T) {
	for _, tt := range []struct{ first, second, says string }{
		{"s3cret", "s3cret", ""},
		{"s3cret", "s3crte", "the two passwords differ"},
	} {
		person, program := openTerminal(t)
		var prompts safeBuffer
		tl := &tool{stdin: program, stderr: &prompts}
		type answer struct {
			secret []byte
			err    error
		}
		got := make(chan answer, 1)
		go func() {
			secret, err := tl.askNew(context.Background(), "New password")
			got <- answer{secret, err}
		}()
		for i, line := range []string{tt.first, tt.second} {
			for range 1000 { // the question before the answer, or the terminal echoes it
				if strings.Count(prompts.String(), ": ") == i+1 && !echoes(t, program) {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			if _, err := person.WriteString(line + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		a := <-got
		if tt.says == "" && (a.err != nil || string(a.secret) != tt.first) || tt.says != "" && (a.err == nil || !strings.Contains(a.err.Error(), tt.says)) {
			t.Errorf("typed %q and %q: %q, %v", tt.first, tt.second, a.secret, a.err)
		}
		if !echoes(t, program) || strings.Contains(prompts.String(), "s3c") {
			t.Errorf("the terminal echoes: %v; %q", echoes(t, program), prompts.String())
		}
	}
}

// TestInterruptedQuestion: the terminal has its echo back.
func TestInterruptedQuestion(t *testing.T) {
	_, program := openTerminal(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := (&tool{stdin: program, stderr: &safeBuffer{}}).ask(ctx, "Password")
		done <- err
	}()
	waitEcho(t, program, false)
	cancel()
	if err := <-done; !errors.Is(err, admin.ErrCanceled) {
		t.Errorf("it ended with %v", err)
	}
	waitEcho(t, program, true)
}

// TestNarrowTerminal: ids stay whole in a table that is too wide, and progress stays in its line.
func TestNarrowTerminal(t *testing.T) {
	id := strings.Repeat("5a", 32)
	for width, want := range map[uint16]string{
		200: "Folder  Key" + strings.Repeat(" ", 63) + "Remarks\r\nINBOX   " + id + "\r\n",
		80:  "Folder   INBOX\r\nKey      " + id + "\r\n\r\n",
	} {
		t.Setenv("NO_COLOR", "1")
		person, program := openTerminal(t)
		err := control(program, func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width})
		})
		if err != nil {
			t.Fatal(err)
		}
		tb := table{columns: []column{{title: "Folder"}, {title: "Key"}, {title: "Remarks"}}}
		tb.add("INBOX", id, "")
		if err := (&tool{stdout: program}).showTable(tb); err != nil {
			t.Fatal(err)
		}
		m := &meter{w: program, began: time.Now().Add(-time.Hour)}
		m.show(admin.Progress{What: strings.Repeat("x", 300)})
		want += "\r\x1b[K" + strings.Repeat("x", int(width)-1)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(person, got); err != nil || string(got) != want {
			t.Errorf("%d columns: %q, %v; want %q", width, got, err, want)
		}
	}
}
