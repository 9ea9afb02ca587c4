package attrdict

import (
	"bytes"
	"context"
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
		return OpenBolt(path, BoltOptions{Timeout: o.Wait})
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
		return OpenFile(path, fo)
	}
	return nil, fmt.Errorf("attrdict: unknown driver in %q", uri)
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

// Copy sets every pair of src in dst, in one transaction of dst's, and reads it back. Pairs
// that only dst has stay; a key that dst has with another value is an error wrapping
// ErrChanged, and nothing is copied: a key must not be lost by copying twice.
func Copy(ctx context.Context, dst, src Dict) error {
	type pair struct {
		key   string
		value []byte
	}
	var pairs []pair
	err := src.View(ctx, func(r Reader) error {
		pairs = nil
		return r.Iterate("", func(key string, value []byte) error {
			pairs = append(pairs, pair{key, bytes.Clone(value)})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("attrdict: copying: %w", err)
	}
	err = dst.Update(ctx, func(tx Tx) error {
		for _, p := range pairs {
			now, err := tx.Get(p.key)
			switch {
			case errors.Is(err, ErrNotFound):
				if err := tx.Set(p.key, p.value); err != nil {
					return err
				}
			case err != nil:
				return err
			case !bytes.Equal(now, p.value):
				return fmt.Errorf("%w: %s", ErrChanged, p.key)
			}
		}
		return nil
	})
	if err == nil {
		err = dst.View(ctx, func(r Reader) error {
			for _, p := range pairs {
				if now, err := r.Get(p.key); err != nil || !bytes.Equal(now, p.value) {
					return fmt.Errorf("attrdict: %s reads back differently: %w", p.key, errors.Join(err, ErrCorrupt))
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("attrdict: copying: %w", err)
	}
	return nil
}
