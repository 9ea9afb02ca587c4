package admin

import (
	"context"
	"time"
)

// Progress says how far a long operation has come.
type Progress struct {
	What  string `json:"what"`            // such as "reading headers"
	Place string `json:"place,omitempty"` // the folder or key that it is at
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"` // 0 where it is not known
}

type progressKey struct{}

// WithProgress returns a context with which the methods of a Service report how far they
// have come, some four times a second at most. fn is called by one goroutine at a time, and
// must not block.
func WithProgress(ctx context.Context, fn func(Progress)) context.Context {
	return context.WithValue(ctx, progressKey{}, fn)
}

// A reporter thins out what an operation reports.
type reporter struct {
	fn   func(Progress)
	last time.Time
}

func newReporter(ctx context.Context) *reporter {
	fn, _ := ctx.Value(progressKey{}).(func(Progress))
	return &reporter{fn: fn, last: time.Now()}
}

// report tells of progress, unless it has done so just now.
func (r *reporter) report(p Progress) {
	if r.fn == nil || time.Since(r.last) < 250*time.Millisecond {
		return
	}
	r.last = time.Now()
	r.fn(p)
}
