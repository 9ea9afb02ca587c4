package account

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mailcrypt/attrdict"
)

// dicts are the open dictionaries of a registry. Two accounts may name one file: a user whose
// fields have changed while sessions are open, or two users of one home. A bolt file can be
// open only once, so they share it.
type dicts struct {
	wait time.Duration // for locks
	mu   sync.Mutex
	open map[string]*sharedDict
}

type sharedDict struct {
	mu   sync.Mutex // held while the file is being opened
	dict attrdict.Dict
	refs int // under dicts.mu
}

// get opens the dictionary of a URI, or shares it. The caller closes it.
func (ds *dicts) get(uri, home string) (attrdict.Dict, error) {
	if uri == "" {
		return noDict{}, nil
	}
	place := dictPlace(uri, home)
	ds.mu.Lock()
	if ds.open == nil {
		ds.open = map[string]*sharedDict{}
	}
	d := ds.open[place]
	if d == nil {
		d = &sharedDict{}
		ds.open[place] = d
	}
	d.refs++
	ds.mu.Unlock()
	use := &usedDict{set: ds, shared: d, place: place}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dict == nil {
		// What is a percent sign here is none to attrdict.
		opened, err := attrdict.Options{Wait: ds.wait}.Open(strings.ReplaceAll(uri, "%", "%%"), home)
		if err != nil {
			return nil, errors.Join(err, use.release())
		}
		d.dict = opened
	}
	use.Dict = d.dict
	return use, nil
}

// dictPlace is what two URIs have in common that name one file.
func dictPlace(uri, home string) string {
	driver, rest, _ := strings.Cut(uri, ":")
	path, params, _ := strings.Cut(rest, ":")
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(home, below)
	}
	path = filepath.Clean(path)
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return driver + ":" + path + ":" + params
}

// A usedDict is one account's use of a dictionary.
type usedDict struct {
	attrdict.Dict
	set    *dicts
	shared *sharedDict
	place  string
	once   sync.Once
}

// Close gives the use back; the last one closes the file.
func (u *usedDict) Close() (err error) {
	u.once.Do(func() { err = u.release() })
	return err
}

// release closes the file under the lock of the set, so that nobody opens it before it is
// free.
func (u *usedDict) release() error {
	u.set.mu.Lock()
	defer u.set.mu.Unlock()
	if u.shared.refs--; u.shared.refs > 0 {
		return nil
	}
	delete(u.set.open, u.place)
	if u.shared.dict == nil {
		return nil
	}
	return u.shared.dict.Close()
}

// noDict is the dictionary of a configuration that has none: global keys need none.
type noDict struct{}

func (noDict) View(_ context.Context, fn func(attrdict.Reader) error) error { return fn(noDict{}) }
func (noDict) Update(context.Context, func(attrdict.Tx) error) error {
	return errors.New("account: no mail_attribute_dict is configured, so no key can be stored")
}
func (noDict) Get(key string) ([]byte, error) {
	return nil, fmt.Errorf("%w: %s", attrdict.ErrNotFound, key)
}
func (noDict) Iterate(string, func(string, []byte) error) error { return nil }
func (noDict) Close() error                                     { return nil }
