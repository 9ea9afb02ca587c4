package admin

import (
	"context"
	"fmt"
)

var errUnwritten = fmt.Errorf("%w: this release cannot do that yet", ErrUsage)

// Who implements Service.
func (l *Local) Who(ctx context.Context, r WhoRequest) (WhoResult, error) {
	return WhoResult{}, errUnwritten
}

// Kick implements Service.
func (l *Local) Kick(ctx context.Context, r KickRequest) (WhoResult, error) {
	return WhoResult{}, errUnwritten
}
