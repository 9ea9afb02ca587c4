package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// mailUID is the user whom stores belong to: Dovecot serves no mail as root.
const mailUID = 5000

// A server is one of the two programs, with a directory of its own.
type server struct {
	name              string
	dir               string // configuration and log
	homes             string // the home of user u is homes/u
	imap, imaps, lmtp string // addresses
	argv              []string
	tool              []string // its administrator's tool, up to the name of the command
	attr              *syscall.SysProcAttr
	caches            []string // patterns of files that hold what reading has found
	attributes        string   // the file of keys, in the home

	cmd      *exec.Cmd
	exited   chan struct{}
	toolTime time.Duration // of a core, by the tool so far
}

// start runs the server and waits until it listens.
func (s *server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = log, log, s.attr
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("bench: starting %s: %w", s.name, err)
	}
	s.exited = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.exited) }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.imap); err == nil {
			return c.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("bench: %s ended at once: see %s", s.name, log.Name())
		default:
		}
	}
	return fmt.Errorf("bench: %s does not listen: see %s", s.name, log.Name())
}

// stop ends the server and waits for its end.
func (s *server) stop() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		s.cmd = nil
		return nil
	case <-time.After(time.Minute):
		s.cmd.Process.Kill()
		return fmt.Errorf("bench: %s did not end on SIGTERM", s.name)
	}
}

// restart makes the server forget what it holds in memory and finish what it writes late.
func (s *server) restart() error { return errors.Join(s.stop(), s.start()) }

// admin runs the server's tool.
func (s *server) admin(ctx context.Context, args ...string) error {
	argv := append(append([]string{}, s.tool...), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil {
		s.toolTime += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		return fmt.Errorf("bench: %v: %w: %s", argv, err, out)
	}
	return nil
}

// freeAddress is a loopback address nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// place makes the directories of a server and finds it addresses.
func (s *server) place(dir string) error {
	s.dir, s.homes = filepath.Join(dir, s.name), filepath.Join(dir, s.name, "homes")
	if err := os.MkdirAll(s.homes, 0o755); err != nil {
		return err
	}
	for _, d := range []string{s.dir, s.homes} {
		if err := os.Chown(d, mailUID, mailUID); err != nil {
			return err
		}
	}
	for _, a := range []*string{&s.imap, &s.imaps, &s.lmtp} {
		var err error
		if *a, err = freeAddress(); err != nil {
			return err
		}
	}
	return nil
}
