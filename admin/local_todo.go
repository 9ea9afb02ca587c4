package admin

import (
	"context"
	"fmt"
)

var errUnwritten = fmt.Errorf("%w: this release cannot do that yet", ErrUsage)

// Export implements Service.
func (l *Local) Export(ctx context.Context, r ExportRequest) (ExportResult, error) {
	return ExportResult{}, errUnwritten
}

// Import implements Service.
func (l *Local) Import(ctx context.Context, r ImportRequest) (ImportResult, error) {
	return ImportResult{}, errUnwritten
}

// Retire implements Service.
func (l *Local) Retire(ctx context.Context, r RetireRequest) (RetireResult, error) {
	return RetireResult{}, errUnwritten
}

// Check implements Service.
func (l *Local) Check(ctx context.Context, r CheckRequest) (CheckResult, error) {
	return CheckResult{}, errUnwritten
}

// Who implements Service.
func (l *Local) Who(ctx context.Context, r WhoRequest) (WhoResult, error) {
	return WhoResult{}, errUnwritten
}

// Kick implements Service.
func (l *Local) Kick(ctx context.Context, r KickRequest) (WhoResult, error) {
	return WhoResult{}, errUnwritten
}
