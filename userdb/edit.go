package userdb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailcrypt/internal/durable"
)

// Changes rewrite one line and keep every other byte. They hold the dotlock <file>.lock and
// rename its contents over the file, which keeps mode and group.

// SetPassword replaces a user's stored hash, as HashPassword makes it. When it returns
// nil, the change is durable and the next Authenticate sees it.
func (p *PasswdFile) SetPassword(ctx context.Context, name, hash string) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	if _, _, err := parseHash(hash); err != nil {
		return err
	}
	return p.edit(ctx, name, func(key string, lines [][]byte) ([][]byte, error) {
		i := findLine(lines, key)
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		lines[i] = replaceHash(lines[i], key, hash)
		return lines, nil
	})
}

// replaceHash changes the second column of a user's line.
func replaceHash(line []byte, key, hash string) []byte {
	text, end := cutEnd(line)
	_, rest, _ := bytes.Cut(text, []byte{':'})
	_, rest, more := bytes.Cut(rest, []byte{':'})
	if more {
		return slices.Concat([]byte(key+":"+hash+":"), rest, end)
	}
	return slices.Concat([]byte(key+":"+hash), end)
}

// Add appends a user. u.Name is taken as a login name is. Values must not hold line ends,
// home no colon, fields no spaces; a UID or GID of 0 or
// less is none. An error wraps ErrExists if the user is there.
func (p *PasswdFile) Add(ctx context.Context, u User, hash string) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	id := func(n int) string {
		if n <= 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	fields := make([]string, 0, len(u.Fields))
	for name, value := range u.Fields {
		field := "userdb_" + name + "=" + value
		if name == "" || strings.ContainsAny(name, "=") || strings.ContainsAny(field, " \r\n\x00") {
			return fmt.Errorf("userdb: adding %s: field %q cannot be written", u.Name, name)
		}
		fields = append(fields, field)
	}
	slices.Sort(fields)
	if strings.ContainsAny(u.Home, ":\r\n\x00") {
		return fmt.Errorf("userdb: adding %s: home %q cannot be written", u.Name, u.Home)
	}
	return p.edit(ctx, u.Name, func(key string, lines [][]byte) ([][]byte, error) {
		if findLine(lines, key) >= 0 {
			return nil, fmt.Errorf("%w: %s", ErrExists, u.Name)
		}
		if n := len(lines); n > 0 && !bytes.HasSuffix(lines[n-1], []byte{'\n'}) {
			lines[n-1] = append(lines[n-1], '\n')
		}
		line := strings.Join([]string{key, hash, id(u.UID), id(u.GID), "", u.Home, "", strings.Join(fields, " ")}, ":")
		return append(lines, []byte(line+"\n")), nil
	})
}

// Delete removes every line of a user.
func (p *PasswdFile) Delete(ctx context.Context, name string) error {
	return p.edit(ctx, name, func(key string, lines [][]byte) ([][]byte, error) {
		if findLine(lines, key) < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		return slices.DeleteFunc(lines, func(l []byte) bool { return lineOf(l, key) }), nil
	})
}

// edit runs change on the lines of the file, each with its end, under the lock.
func (p *PasswdFile) edit(ctx context.Context, login string, change func(key string, lines [][]byte) ([][]byte, error)) error {
	name, key, err := p.names(login)
	if err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(p.path) // the link stays, its target is replaced
	if err != nil {
		return fmt.Errorf("userdb: changing user %s: %w", name, err)
	}
	lock, err := durable.Lock(ctx, path, durable.DotlockOptions{Wait: 30 * time.Second, Stale: time.Minute})
	if err != nil {
		return fmt.Errorf("userdb: changing user %s: %w", name, err)
	}
	defer lock.Unlock() // does nothing after ReplaceWith; before it, nothing was written
	b, _, err := readPasswdFile(path)
	if err != nil {
		return fmt.Errorf("userdb: changing user %s: %w", name, err)
	}
	lines := bytes.SplitAfter(b, []byte{'\n'})
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	lines, err = change(key, lines)
	if err != nil {
		return err
	}
	err = lock.ReplaceWith(func(w io.Writer) error {
		_, err := w.Write(bytes.Join(lines, nil))
		return err
	})
	if err != nil {
		return fmt.Errorf("userdb: changing user %s: %w", name, err)
	}
	p.reload()
	return nil
}

// findLine returns the index of the line that counts for a name, -1 if there is none.
func findLine(lines [][]byte, key string) int {
	return slices.IndexFunc(lines, func(l []byte) bool { return lineOf(l, key) })
}

func lineOf(line []byte, key string) bool {
	text, _ := cutEnd(line)
	name, _, _ := bytes.Cut(text, []byte{':'})
	return len(name) > 0 && name[0] != '#' && string(name) == key
}

// cutEnd parts a line from its LF, CR LF, or at the end of the file a CR alone.
func cutEnd(line []byte) (text, end []byte) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
	return text, line[len(text):]
}
