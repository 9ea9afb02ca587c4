package control

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

func (d *Dir) subscriptions() (subscriptions, error) {
	text, err := durable.ReadSmall(d.SubscriptionsPath(), maxSmallFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return subscriptions{}, fmt.Errorf("control: reading subscriptions: %w", err)
	}
	return parseSubscriptions(text), nil
}

// SubscriptionsPath is where the subscriptions are.
func (d *Dir) SubscriptionsPath() string {
	name := d.Subscriptions
	if name == "" {
		name = "subscriptions"
	}
	return filepath.Join(d.Path, name)
}

// Subscribed returns the storage names that are subscribed, in the order of subscribing.
// Lines that are none are left out.
func (d *Dir) Subscribed() ([]string, error) {
	s, err := d.subscriptions()
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, line := range s.lines {
		key := s.key(line, d.Separator)
		if strings.EqualFold(key, mailbox.Inbox) {
			key = mailbox.Inbox
		}
		if key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Subscribe adds a storage name to the subscriptions or takes it out, and reports whether
// that changed anything. Lines that are no names stay.
func (d *Dir) Subscribe(ctx context.Context, key string, on bool) (changed bool, err error) {
	if err := d.Tree.MkdirAll(d.Path); err != nil {
		return false, fmt.Errorf("control: subscribing: %w", err)
	}
	l, err := durable.Lock(ctx, d.SubscriptionsPath(), durable.DotlockOptions{
		Wait: min(d.LockWait, 120*time.Second), Stale: 30 * time.Second, Host: d.Host, Faults: d.Tree.Faults})
	if err != nil {
		return false, fmt.Errorf("control: subscribing: %w", err)
	}
	s, err := d.subscriptions()
	if err != nil {
		return false, errors.Join(err, l.Unlock())
	}
	is := func(line string) bool {
		k := s.key(line, d.Separator)
		return k == key || key == mailbox.Inbox && strings.EqualFold(k, mailbox.Inbox)
	}
	if slices.ContainsFunc(s.lines, is) == on {
		return false, l.Unlock()
	}
	if on {
		s.lines = append(s.lines, s.line(key, d.Separator))
	} else {
		s.lines = slices.DeleteFunc(s.lines, is)
	}
	if err := l.ReplaceWith(s.write); err != nil {
		return false, fmt.Errorf("control: subscribing: %w", err)
	}
	return true, nil
}
