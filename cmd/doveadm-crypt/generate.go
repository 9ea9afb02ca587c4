package main

import (
	"context"

	"mailcrypt/admin"
)

// generate calls Generate. What it makes in the first place is the user key, so that it has
// changed nothing where it wants a password; moving folder keys is a call of its own, for
// it could want one after that.
func (t *tool) generate(ctx context.Context, s admin.Service, r admin.GenerateRequest, k *keySecrets) (result admin.GenerateResult, err error) {
	err = k.call(ctx, func(ctx context.Context, _ []admin.Password) error {
		r.Password = k.password()
		result, err = s.Generate(ctx, r)
		return err
	})
	return result, err
}
