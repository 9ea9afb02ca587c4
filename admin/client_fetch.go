package admin

import (
	"context"
	"fmt"
	"io"
)

// Fetch implements Service. Where w fails, the daemon is told to stop, and w's error is the
// error.
func (c *Client) Fetch(ctx context.Context, r FetchRequest, w io.Writer) (FetchResult, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	result, err := exchange[FetchResult](ctx, c, "Fetch", r, func(piece []byte) {
		if failed != nil {
			return // what was under way when the daemon was told
		}
		if _, failed = w.Write(piece); failed != nil {
			stop()
		}
	})
	if failed != nil {
		return result, fmt.Errorf("%w: writing the message: %w", ErrTemporary, failed)
	}
	return result, err
}
