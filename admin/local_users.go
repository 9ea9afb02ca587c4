package admin

import (
	"context"
	"fmt"
	"iter"

	"mailcrypt/userdb"
)

// ListUsers implements Service.
func (l *Local) ListUsers(ctx context.Context, r ListUsersRequest) (ListUsersResult, error) {
	all, ok := l.Users.(interface {
		Users(context.Context) iter.Seq2[*userdb.User, error]
	})
	if !ok {
		return ListUsersResult{}, fmt.Errorf("%w: this user database cannot be listed", ErrUsage)
	}
	var result ListUsersResult
	for u, err := range all.Users(ctx) {
		switch {
		case ctx.Err() != nil:
			return result, classify(ctx.Err())
		case err != nil:
			result.Users = append(result.Users, UserInfo{Error: err.Error()})
		case r.Mask == "" || match(r.Mask, u.Name, 0):
			result.Users = append(result.Users, UserInfo{Name: u.Name, Home: u.Home})
		}
	}
	return result, nil
}
