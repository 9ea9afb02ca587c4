package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A request is a line of the client's.
type request struct {
	Do      string          `json:"do,omitempty"`
	Version int             `json:"version,omitempty"`
	Args    json.RawMessage `json:"args,omitempty"`
	Cancel  bool            `json:"cancel,omitempty"` // the request under way
}

// A response is a line of the server's: that it is at work, progress, a piece of text, or the
// end of a request.
type response struct {
	Alive    bool            `json:"alive,omitempty"`
	Progress *Progress       `json:"progress,omitempty"`
	Piece    []byte          `json:"piece,omitempty"` // of the text of Fetch
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *wireError      `json:"error,omitempty"`
}

// A wireError keeps the kinds of an error across the socket. What was done before it is
// in the response's result.
type wireError struct {
	Kinds []string `json:"kinds,omitempty"`
	Text  string   `json:"text"`
}

func (e *wireError) Error() string { return e.Text }

// Unwrap returns the kinds.
func (e *wireError) Unwrap() []error {
	var list []error
	for _, name := range e.Kinds {
		if kind := kinds[name]; kind != nil {
			list = append(list, kind)
		}
	}
	return list
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error()}
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			w.Kinds = append(w.Kinds, name)
		}
	}
	slices.Sort(w.Kinds)
	return w
}

// do carries out one request, other than Fetch.
func do(ctx context.Context, s Service, req request) (any, error) {
	switch req.Do {
	case "Reseal":
		return call(ctx, req, s.Reseal)
	case "EndReseal":
		return call(ctx, req, s.EndReseal)
	case "UndoReseal":
		return call(ctx, req, s.UndoReseal)
	case "SetPassword":
		return call(ctx, req, s.SetPassword)
	case "Generate":
		return call(ctx, req, s.Generate)
	case "Rewrap":
		return call(ctx, req, s.Rewrap)
	case "List":
		return call(ctx, req, s.List)
	case "Export":
		return call(ctx, req, s.Export)
	case "Import":
		return call(ctx, req, s.Import)
	case "Retire":
		return call(ctx, req, s.Retire)
	case "Check":
		return call(ctx, req, s.Check)
	case "Purge":
		return call(ctx, req, s.Purge)
	case "AltMove":
		return call(ctx, req, s.AltMove)
	case "StoreStat":
		return call(ctx, req, s.StoreStat)
	case "Resync":
		return call(ctx, req, s.Resync)
	case "ImportStore":
		return call(ctx, req, s.ImportStore)
	case "ExportStore":
		return call(ctx, req, s.ExportStore)
	case "ListUsers":
		return call(ctx, req, s.ListUsers)
	case "Who":
		return call(ctx, req, s.Who)
	case "Kick":
		return call(ctx, req, s.Kick)
	case "Status":
		return s.Status(ctx)
	}
	return nil, fmt.Errorf("%w: the daemon does not know how to do %q", ErrUsage, req.Do)
}

func call[A, R any](ctx context.Context, req request, do func(context.Context, A) (R, error)) (any, error) {
	var args A
	if err := json.Unmarshal(req.Args, &args); err != nil {
		return nil, fmt.Errorf("%w: the arguments of %s do not fit", ErrUsage, req.Do)
	}
	return do(ctx, args)
}
