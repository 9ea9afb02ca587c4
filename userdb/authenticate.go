package userdb

import (
	"context"
	"errors"
	"fmt"
)

// fallbackSample is verified for unknown users while the file has no hash to take as a
// sample. It is the hash of random bytes under the default scheme.
const fallbackSample = "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$/LZ90sOoGDsXN1IQ2xq0qw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Authenticate implements DB. A user with the field nologin is refused. A user whose line
// or hash cannot be used is an error of type *LineError, which is no ErrAuth: it is not the
// password that is wrong. Dovecot's field nopassword, any password being right, is not
// honoured.
func (p *PasswdFile) Authenticate(ctx context.Context, name string, password []byte) (*User, error) {
	t, e, name, err := p.find(name)
	if err != nil && t == nil {
		return nil, err
	}
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-p.hashing }()
	if err != nil {
		p.waste(t, password)
		return nil, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	u, err := p.user(e, name)
	if err != nil {
		p.waste(t, password)
		return nil, err
	}
	if e.hash == "" {
		p.waste(t, password)
		return nil, fmt.Errorf("%w: user %s has no password", ErrAuth, name)
	}
	switch err := Verify(name, e.hash, password); {
	case errors.Is(err, ErrPassword):
		return nil, fmt.Errorf("%w: user %s: %w", ErrAuth, name, ErrPassword)
	case err != nil:
		return nil, p.lineError(e, err.Error())
	}
	if _, refused := u.Fields["nologin"]; refused {
		return nil, fmt.Errorf("%w: user %s may not log in", ErrAuth, name)
	}
	return u, nil
}

// enter waits for a turn to spend memory and time.
func (p *PasswdFile) enter(ctx context.Context) error {
	select {
	case p.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waste spends the time that a verification takes.
func (p *PasswdFile) waste(t *table, password []byte) {
	sample := t.sample
	if sample == "" {
		sample = fallbackSample
	}
	_ = Verify("nobody", sample, password) // whatever it says
}
