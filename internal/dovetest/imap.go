package dovetest

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// A Session is Dovecot's IMAP process, already logged in.
type Session struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
	err *strings.Builder
	cmd *exec.Cmd
	n   int
}

// IMAP starts a session. It ends with the test, or with Close.
func (d *Dovecot) IMAP() *Session {
	d.t.Helper()
	s := &Session{t: d.t, cmd: d.command(imapBinary, "-c", d.Conf), err: &strings.Builder{}}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	s.cmd.Stderr = s.err
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { s.in.Close() })
	if line, err := s.out.ReadString('\n'); !strings.Contains(line, "PREAUTH") {
		d.t.Fatalf("greeting %q, %v", line, err)
	}
	return s
}

// Do sends a command and returns the untagged lines and the tagged one.
func (s *Session) Do(format string, args ...any) (lines []string, result string) {
	s.n++
	tag := fmt.Sprintf("t%d ", s.n)
	fmt.Fprintf(s.in, tag+format+"\r\n", args...)
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Errorf("reading from Dovecot: %v; %s", err, s.err)
			return lines, ""
		}
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return lines, rest
		}
		lines = append(lines, line)
	}
}

// OK is Do that must succeed.
func (s *Session) OK(format string, args ...any) []string {
	s.t.Helper()
	lines, result := s.Do(format, args...)
	if !strings.HasPrefix(result, "OK") {
		s.t.Errorf("%s: %s", fmt.Sprintf(format, args...), result)
	}
	return lines
}

// Append saves a message.
func (s *Session) Append(mailbox, flags, text string) {
	s.t.Helper()
	s.OK("APPEND %s (%s) {%d+}\r\n%s", mailbox, flags, len(text), text)
}

// Close ends the session and returns what Dovecot has logged.
func (s *Session) Close() string {
	fmt.Fprintf(s.in, "z LOGOUT\r\n")
	s.in.Close()
	io.Copy(io.Discard, s.out)
	s.cmd.Wait()
	return s.err.String()
}
