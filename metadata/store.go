package metadata

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/mailbox"
)

// Conditions that callers branch on.
var (
	// ErrInternal reports an entry that no client may change.
	ErrInternal = errors.New("metadata: internal entry")
	// ErrTooMany reports that the user has no room for more annotations.
	ErrTooMany = errors.New("metadata: too many annotations")
	// ErrReadOnly reports an entry that only the administrator changes.
	ErrReadOnly = errors.New("metadata: read-only entry")
)

// A ValueError reports a value that is too large.
type ValueError struct{ Max int } // bytes that are allowed

func (e *ValueError) Error() string {
	return fmt.Sprintf("metadata: value of more than %d bytes", e.Max)
}

// Limits bound what a user may keep. Zero fields mean the defaults.
type Limits struct {
	Value   int // bytes of one value; 64 KiB
	Mailbox int // annotations of one mailbox, or of the server; 100
	User    int // annotations of all; 2,000
	Bytes   int // of all names and values together; 4 MiB
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		n         *int
		otherwise int
	}{{&l.Value, 64 << 10}, {&l.Mailbox, 100}, {&l.User, 2_000}, {&l.Bytes, 4 << 20}} {
		if *f.n == 0 {
			*f.n = f.otherwise
		}
	}
	return l
}

// A Scope is what is annotated.
type Scope struct {
	guid   mailbox.GUID
	prefix string // of keys
}

// Mailbox is the scope of a mailbox.
func Mailbox(guid mailbox.GUID) Scope { return Scope{guid: guid} }

// Server is the scope of the server, as the user whose INBOX is given sees it.
func Server(inbox mailbox.GUID) Scope { return Scope{inbox, pvtServer} }

// name is the name of an entry in the dictionary; ok is false where it is none of a
// client's.
func (s Scope) name(e Entry) (name string, ok bool) {
	if e.key == "" || internal(e.key) {
		return "", false
	}
	return s.under(e.shared) + e.key, true
}

// under is what the names of a scope begin with.
func (s Scope) under(shared bool) string {
	first := "priv/"
	if shared {
		first = "shared/"
	}
	return first + s.guid.String() + "/" + s.prefix
}

// A Value is an annotation. A nil Data is NIL: there is none, or it is to be removed.
type Value struct {
	Entry Entry
	Data  []byte
}

// Infinity is the depth of all that is below an entry.
const Infinity = -1

// A Store is one user's annotations. Its methods may be called concurrently.
type Store struct {
	dict   attrdict.Dict
	limits Limits
}

// New returns the annotations in a dictionary, which the caller closes.
func New(dict attrdict.Dict, l Limits) *Store { return &Store{dict, l.withDefaults()} }

// Limits are those of the Store.
func (s *Store) Limits() Limits { return s.limits }

// Get returns the values of entries, and of those below them: depth 0 is none, 1 those one
// level down, and Infinity all. Entries that have no value are left out, or with depth 0
// have a nil Data. No entry comes twice.
func (s *Store) Get(ctx context.Context, scope Scope, entries []Entry, depth int) (values []Value, err error) {
	err = s.dict.View(ctx, func(r attrdict.Reader) error {
		values = nil
		seen := map[Entry]bool{}
		add := func(e Entry, data []byte) {
			if !seen[e] {
				seen[e] = true
				values = append(values, Value{e, data})
			}
		}
		for _, e := range entries {
			data, err := get(r, scope, e)
			if err != nil {
				return err
			}
			if data != nil || depth == 0 {
				add(e, data)
			}
			if depth == 0 {
				continue
			}
			err = below(r, scope, e, func(e Entry, rest string, data []byte) {
				if !seen[e] && (depth == Infinity || strings.Count(rest, "/") < depth) {
					add(e, clone(data))
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("metadata: reading: %w", err)
	}
	return values, nil
}

// get returns a copy of one value, nil where there is none.
func get(r attrdict.Reader, scope Scope, e Entry) ([]byte, error) {
	name, ok := scope.name(e)
	if !ok {
		return nil, nil
	}
	data, err := r.Get(name)
	if errors.Is(err, attrdict.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return clone(data), nil
}

// clone copies a value, of which an empty one is not nil.
func clone(data []byte) []byte { return append(make([]byte, 0, len(data)), data...) }

// below calls fn for what is below an entry, in the order of names. rest is the name
// without that of the entry.
func below(r attrdict.Reader, scope Scope, e Entry, fn func(e Entry, rest string, data []byte)) error {
	if internal(e.key) {
		return nil
	}
	prefix := scope.under(e.shared)
	if e.key != "" {
		prefix += e.key + "/"
	}
	return r.Iterate(prefix, func(name string, data []byte) error {
		rest := name[len(prefix):]
		// Other programs may have stored names that no client can give.
		child, err := ParseEntry(e.String() + "/" + rest)
		if full, ok := scope.name(child); err == nil && ok && full == name {
			fn(child, rest, data)
		}
		return nil
	})
}

// Set changes annotations, all or none, durably. Errors wrap ErrInternal, ErrTooMany or
// a *ValueError. What is there may always be removed, or replaced by what is not longer.
func (s *Store) Set(ctx context.Context, scope Scope, values []Value) error {
	for _, v := range values {
		if _, ok := scope.name(v.Entry); !ok {
			return fmt.Errorf("metadata: setting: %w", ErrInternal)
		}
		if len(v.Data) > s.limits.Value {
			return fmt.Errorf("metadata: setting: %w", &ValueError{s.limits.Value})
		}
	}
	err := s.dict.Update(ctx, func(tx attrdict.Tx) error {
		before, err := s.usage(tx, scope)
		if err != nil {
			return err
		}
		for _, v := range values {
			name, _ := scope.name(v.Entry)
			if v.Data == nil {
				err = tx.Unset(name)
			} else {
				err = tx.Set(name, v.Data)
			}
			if err != nil {
				return err
			}
		}
		after, err := s.usage(tx, scope)
		if err != nil {
			return err
		}
		if after.mailbox > max(before.mailbox, s.limits.Mailbox) || after.user > max(before.user, s.limits.User) ||
			after.bytes > max(before.bytes, s.limits.Bytes) {
			return ErrTooMany
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("metadata: setting: %w", err)
	}
	return nil
}

// usage is what is kept already.
type usage struct{ mailbox, user, bytes int }

// usage counts what clients have stored, and nothing else.
func (s *Store) usage(r attrdict.Reader, scope Scope) (u usage, err error) {
	for _, first := range []string{"priv/", "shared/"} {
		err := r.Iterate(first, func(name string, data []byte) error {
			guid, key, ok := strings.Cut(name[len(first):], "/")
			if !ok {
				return nil
			}
			server, rest := "", key
			if strings.HasPrefix(lower(key), pvtServer) {
				server, rest = pvtServer, key[len(pvtServer):]
			}
			if internal(rest) {
				return nil
			}
			u.user++
			u.bytes += len(name) + len(data)
			if guid == scope.guid.String() && server == scope.prefix {
				u.mailbox++
			}
			return nil
		})
		if err != nil {
			return u, err
		}
	}
	return u, nil
}
