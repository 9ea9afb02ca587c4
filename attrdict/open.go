package attrdict

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// Options are those of both stores, for callers that open whatever a URI names.
type Options struct {
	// Wait is how long to wait for another process; 0 is each store's own default.
	Wait time.Duration
	// ReadOnly opens for View alone: Update fails with ErrReadOnly. A bolt dictionary must
	// exist then, and is shared with other readers; a file that does not exist is empty.
	ReadOnly bool
	// Logger is told of damage that was read around. nil is silent.
	Logger *slog.Logger
}

// Open opens the dictionary that a URI names, with default options:
//
//	bolt:PATH
//	file:PATH[:lock=dotlock|fcntl|flock]
//
// "~/" at the beginning of PATH and "%h" anywhere stand for home; "%%" is a percent sign.
// PATH must then be absolute. The caller closes the dictionary.
func Open(uri, home string) (Dict, error) { return Options{}.Open(uri, home) }

// Open is the function of the same name with options.
func (o Options) Open(uri, home string) (Dict, error) {
	driver, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return nil, fmt.Errorf("attrdict: no driver in %q", uri)
	}
	path, params, _ := strings.Cut(rest, ":") // Dovecot: dict-file.c cuts at the first one
	path, err := expandHome(path, home)
	if err != nil {
		return nil, fmt.Errorf("attrdict: opening %q: %w", uri, err)
	}
	switch driver {
	case "bolt":
		if params != "" {
			return nil, fmt.Errorf("attrdict: unknown parameter %q in %q", params, uri)
		}
		d, err := OpenBolt(path, BoltOptions{Timeout: o.Wait, ReadOnly: o.ReadOnly})
		if err == nil && o.ReadOnly {
			d = ReadOnly(d)
		}
		return d, err
	case "file":
		fo := FileOptions{Wait: o.Wait, Logger: o.Logger}
		switch params {
		case "", "lock=dotlock":
		case "lock=fcntl":
			fo.Lock = LockFcntl
		case "lock=flock":
			fo.Lock = LockFlock
		default:
			return nil, fmt.Errorf("attrdict: unknown parameter %q in %q", params, uri)
		}
		d, err := OpenFile(path, fo)
		if err == nil && o.ReadOnly {
			d = ReadOnly(d)
		}
		return d, err
	}
	return nil, fmt.Errorf("attrdict: unknown driver in %q", uri)
}

// Path is the file of the dictionary that a URI names, see Open.
func Path(uri, home string) (string, error) {
	_, rest, _ := strings.Cut(uri, ":")
	path, _, _ := strings.Cut(rest, ":")
	return expandHome(path, home)
}

// expandHome replaces in one pass, so that nothing in home is expanded again.
func expandHome(path, home string) (string, error) {
	needs := false
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path, needs = "%h/"+rest, true
	}
	needs = needs || strings.Contains(strings.ReplaceAll(path, "%%", ""), "%h")
	if needs && home == "" {
		return "", errors.New("the user has no home")
	}
	path = strings.NewReplacer("%%", "%", "%h", home).Replace(path)
	if !filepath.IsAbs(path) {
		return "", errors.New("path is not absolute")
	}
	return filepath.Clean(path), nil
}
