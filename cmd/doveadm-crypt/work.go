package main

import (
	"context"

	"mailcrypt/admin"
)

// withService calls fn with the daemon's service, or with one of its own where no daemon runs.
func (t *tool) withService(ctx context.Context, fn func(admin.Service) error) error {
	s, err := t.service(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(s)
}

// forUser calls fn for a command about the keys of one user. It takes in the secrets that
// options name before anything is connected to, where k is not nil, and clears them after.
func (t *tool) forUser(ctx context.Context, user string, k *keySecrets, fn func(admin.Service) error) error {
	if err := needUser(user); err != nil {
		return err
	}
	if k != nil {
		defer k.clear()
		if err := k.options(ctx); err != nil {
			return err
		}
	}
	return t.withService(ctx, fn)
}

// call calls an operation, and once more with a password where it says that it needs one.
// The operation must not have done anything then. Progress is shown meanwhile, but not while
// a question is asked.
func (k *keySecrets) call(ctx context.Context, do func(context.Context, []admin.Password) error) error {
	ctx, done := k.t.progress(ctx)
	defer done()
	return k.with(ctx, func(secrets []admin.Password) error {
		defer done()
		return do(ctx, secrets)
	})
}
