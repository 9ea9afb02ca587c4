package userdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options are the options of OpenPasswdFile; the zero value is what Dovecot does.
type Options struct {
	// UsernameFormat turns a login name into the user's name; "" is "%Lu"
	// (auth_username_format).
	UsernameFormat string
	// KeyFormat turns the user's name into the name to look for in the file; "" is "%u"
	// (the driver's argument username_format).
	KeyFormat string
	// UsernameChars are allowed in a name; "" is DefaultUsernameChars (auth_username_chars).
	UsernameChars string
	// MaxHashing is how many passwords are verified at once, for argon2 takes 64 MiB each;
	// 0 is the number of processors.
	MaxHashing int
	// NoWatch leaves changes of the file to be seen at the next lookup.
	NoWatch bool
	// Log is told of lines that cannot be used and of a file that cannot be read. nil is
	// silent.
	Log *slog.Logger
}

// A PasswdFile is a DB in a file that people and programs edit. Every lookup sees the file
// as it is; if it cannot be read, what was read last counts, and Err says why.
type PasswdFile struct {
	path    string
	o       Options
	hashing chan struct{}
	watch   *watcher

	mu     sync.Mutex
	closed bool
	table  *table
	stamp  stamp
	err    error // of the last reading
}

// maxPasswdFile bounds the file: some 100 bytes a user.
const maxPasswdFile = 256 << 20

// OpenPasswdFile reads a passwd-file and watches it. Lines that cannot be used are logged
// and disable their own users only. The caller closes it.
func OpenPasswdFile(path string, o Options) (*PasswdFile, error) {
	if o.UsernameFormat == "" {
		o.UsernameFormat = "%Lu"
	}
	if o.KeyFormat == "" {
		o.KeyFormat = "%u"
	}
	if o.MaxHashing <= 0 {
		o.MaxHashing = min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &PasswdFile{path: path, o: o, hashing: make(chan struct{}, o.MaxHashing)}
	for _, format := range []string{o.UsernameFormat, o.KeyFormat} {
		if _, err := Expand(format, Vars{User: "user@domain"}); err != nil {
			return nil, fmt.Errorf("userdb: username format %q: %w", format, err)
		}
	}
	if _, err := p.current(); err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	if !o.NoWatch {
		w, err := watch(path, p.reload)
		if err != nil { // every lookup looks at the file all the same
			o.Log.Warn("the user database cannot be watched", "file", path, "error", err)
		}
		p.watch = w
	}
	return p, nil
}

// Close stops watching. Later calls return ErrClosed.
func (p *PasswdFile) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.closed = true
	p.mu.Unlock()
	return p.watch.close()
}

// Err returns why the file could not be read the last time, nil if it could.
func (p *PasswdFile) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// reload looks at the file, so that the log tells of a mistake when it is made.
func (p *PasswdFile) reload() { _, _ = p.current() }

// A stamp tells one state of a file from another.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
	settled      bool // the file was old enough, when read, for its times to prove anything
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), true}
}

// current returns the users as the file has them now.
func (p *PasswdFile) current() (*table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	var st unix.Stat_t
	if unix.Stat(p.path, &st) == nil && p.table != nil && p.err == nil && stampOf(&st) == p.stamp {
		return p.table, nil
	}
	b, s, err := readPasswdFile(p.path)
	if err != nil {
		err = fmt.Errorf("userdb: reading %s: %w", p.path, err)
		if p.err == nil && p.table != nil {
			p.o.Log.Error("the user database cannot be read; what was read last counts", "file", p.path, "error", err)
		}
		p.err = err
		if p.table == nil {
			return nil, err
		}
		return p.table, nil
	}
	now, before := s, p.stamp
	now.settled, before.settled = false, false
	fresh := p.table == nil || now != before
	p.table, p.stamp, p.err = parseTable(b), s, nil
	if fresh {
		p.report()
	}
	return p.table, nil
}

// report logs lines that do not count.
func (p *PasswdFile) report() {
	for _, e := range p.table.order {
		if e.reason != "" {
			p.o.Log.Error("a user cannot be used", "error", p.lineError(e, e.reason))
		}
	}
	for _, e := range p.table.twice {
		p.o.Log.Error("a user stands there twice; the first line counts", "error", p.lineError(e, "twice"))
	}
}

func (p *PasswdFile) lineError(e *entry, reason string) error {
	return &LineError{p.path, e.line, e.name, reason}
}

// readPasswdFile follows symbolic links: the file is the administrator's.
func readPasswdFile(path string) ([]byte, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, stamp{}, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, stamp{}, errors.New("not a regular file")
	case st.Size > maxPasswdFile:
		return nil, stamp{}, fmt.Errorf("%d bytes are too many", st.Size)
	}
	s := stampOf(&st)
	s.settled = time.Since(time.Unix(0, s.ctime)) > 100*time.Millisecond
	b, err := io.ReadAll(io.LimitReader(f, maxPasswdFile))
	return b, s, err
}

// names returns the user's name and the name to look for.
func (p *PasswdFile) names(login string) (name, key string, err error) {
	if err := CheckName(login, p.o.UsernameChars); err != nil {
		return "", "", err
	}
	b, err := Expand(p.o.UsernameFormat, Vars{User: login})
	if err == nil {
		name = string(b)
		b, err = Expand(p.o.KeyFormat, Vars{User: name})
	}
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrName, err)
	}
	return name, string(b), CheckName(name, p.o.UsernameChars)
}

// Key is what a login name is looked up by, so that all spellings of one user have the same;
// the name itself where it cannot be one.
func (p *PasswdFile) Key(login string) string {
	if _, key, err := p.names(login); err == nil {
		return key
	}
	return login
}

// find returns the entry of a login name; the table is there even if the user is not.
func (p *PasswdFile) find(login string) (t *table, e *entry, name string, err error) {
	if t, err = p.current(); err != nil {
		return nil, nil, "", err
	}
	name, key, err := p.names(login)
	if err != nil {
		return t, nil, "", fmt.Errorf("%w: %w", ErrNoUser, err)
	}
	e = t.byName[key]
	if e == nil {
		return t, nil, name, fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	return t, e, name, nil
}

// Lookup implements DB. An error of type *LineError says why a user that is there cannot
// be used.
func (p *PasswdFile) Lookup(ctx context.Context, name string) (*User, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, e, name, err := p.find(name)
	if err != nil {
		return nil, err
	}
	return p.user(e, name)
}

func (p *PasswdFile) user(e *entry, name string) (*User, error) {
	if e.reason != "" {
		return nil, p.lineError(e, e.reason)
	}
	u := &User{Name: name, Home: e.home, UID: e.uid, GID: e.gid, Fields: maps.Clone(e.fields)}
	if e.template != "" { // the column is no template: so it is in Dovecot
		home, err := Expand(e.template, Vars{User: name})
		if err != nil {
			return nil, p.lineError(e, "home: "+err.Error())
		}
		u.Home = string(home)
	}
	return u, nil
}

// Users implements DB, in the order of the file. The names are those of the file.
func (p *PasswdFile) Users(ctx context.Context) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		t, err := p.current()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, e := range t.order {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			u, err := p.user(e, e.name)
			if err == nil {
				if cerr := CheckName(e.name, p.o.UsernameChars); cerr != nil {
					u, err = nil, p.lineError(e, cerr.Error())
				}
			}
			if !yield(u, err) {
				return
			}
		}
	}
}
