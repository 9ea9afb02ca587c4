package main

import (
	"context"

	"mailcrypt/admin"
)

// generate calls Generate. What it makes in the first place is the user key, so that it has
// changed nothing where it wants a password; moving folder keys is a call of its own, for
// it could want one after that.
func (t *tool) generate(ctx context.Context, s admin.Service, r admin.GenerateRequest, k *keySecrets) (result admin.GenerateResult, err error) {
	ctx, done := t.progress(ctx)
	defer done()
	err = k.with(ctx, func([]admin.Password) error {
		r.Password = k.password()
		result, err = s.Generate(ctx, r)
		done()
		return err
	})
	return result, err
}
