package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// subscriptionsHeader is the first line of a version 2 file.
const subscriptionsHeader = "V\t2"

// subscriptions is a subscriptions file. Lines are storage names whose levels are joined by
// the layout's separator in version 1, and by tabs, each level escaped, in version 2.
type subscriptions struct {
	version int
	lines   []string // as they stand in the file, without doubles
}

// parseSubscriptions reads either version; an empty or missing file will become version 2.
func parseSubscriptions(text []byte) subscriptions {
	s := subscriptions{version: 1}
	if len(bytes.Trim(text, "\n")) == 0 {
		return subscriptions{version: 2}
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if first == subscriptionsHeader {
		s.version = 2
		text = []byte(rest)
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		// The header in any other place would change the version of what we write.
		if line != "" && line != subscriptionsHeader && !seen[line] {
			seen[line] = true
			s.lines = append(s.lines, line)
		}
	}
	return s
}

func (s *subscriptions) write(w io.Writer) error {
	var b bytes.Buffer
	if s.version == 2 {
		b.WriteString(subscriptionsHeader + "\n\n")
	}
	for _, l := range s.lines {
		b.WriteString(l + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// key returns the storage name of a line, "" where it is none.
func (s *subscriptions) key(line string, sep byte) string {
	if s.version == 1 {
		return line
	}
	parts := strings.Split(line, "\t")
	for i, p := range parts {
		p, ok := tabUnescape(p)
		if !ok || p == "" || strings.IndexByte(p, sep) >= 0 {
			return ""
		}
		parts[i] = p
	}
	return mailbox.JoinName(parts, sep)
}

// line is the inverse of key.
func (s *subscriptions) line(key string, sep byte) string {
	if s.version == 1 {
		return key
	}
	parts := mailbox.SplitName(key, sep)
	for i, p := range parts {
		parts[i] = tabEscape.Replace(p)
	}
	return strings.Join(parts, "\t")
}

// Dovecot: strescape.c, str_tabescape.
var tabEscape = strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")

func tabUnescape(s string) (string, bool) {
	if strings.IndexByte(s, 1) < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 1 {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false
		}
		n := strings.IndexByte("01trn", s[i])
		if n < 0 {
			return "", false
		}
		b.WriteByte("\x00\x01\t\r\n"[n])
	}
	return b.String(), true
}

// readSmall reads a regular file of bounded size.
func readSmall(path string) ([]byte, error) {
	f, st, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Size > maxSmallFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("file too large")}
	}
	return io.ReadAll(io.LimitReader(f, maxSmallFile))
}

func (h *Hierarchy) subscriptionsPath() string {
	name := h.loc.Subscriptions
	if name == "" {
		name = "subscriptions"
	}
	return filepath.Join(h.controlRoot(), name)
}

func (h *Hierarchy) readSubscriptions() (subscriptions, error) {
	text, err := readSmall(h.subscriptionsPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return subscriptions{}, fmt.Errorf("maildir: reading subscriptions: %w", err)
	}
	return parseSubscriptions(text), nil
}

// Subscriptions returns the subscribed names in the order of subscribing. Lines that are no
// names here stay in the file and are left out.
func (h *Hierarchy) Subscriptions(ctx context.Context) ([]string, error) {
	s, err := h.readSubscriptions()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(s.lines))
	for _, line := range s.lines {
		key := s.key(line, h.loc.Layout.separator())
		if strings.EqualFold(key, mailbox.Inbox) {
			key = mailbox.Inbox
		}
		if name, ok := h.visibleName(key); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Subscribe adds a name to the subscriptions or takes it out. It need not exist.
func (h *Hierarchy) Subscribe(ctx context.Context, name string, on bool) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	if err := h.mkdirAll(h.controlRoot()); err != nil {
		return fmt.Errorf("maildir: subscribing: %w", err)
	}
	l, err := durable.Lock(ctx, h.subscriptionsPath(), durable.DotlockOptions{
		Wait: min(h.lockWait, 120*time.Second), Stale: 30 * time.Second, Host: h.host, Faults: h.faults})
	if err != nil {
		return fmt.Errorf("maildir: subscribing: %w", err)
	}
	s, err := h.readSubscriptions()
	if err != nil {
		return errors.Join(err, l.Unlock())
	}
	sep := h.loc.Layout.separator()
	is := func(line string) bool {
		key := s.key(line, sep)
		return key == f.key || f.inbox() && strings.EqualFold(key, mailbox.Inbox)
	}
	if slices.ContainsFunc(s.lines, is) == on {
		return l.Unlock()
	}
	if on {
		s.lines = append(s.lines, s.line(f.key, sep))
	} else {
		s.lines = slices.DeleteFunc(s.lines, is)
	}
	if err := l.ReplaceWith(s.write); err != nil {
		return fmt.Errorf("maildir: subscribing: %w", err)
	}
	h.namesChanged()
	return nil
}
