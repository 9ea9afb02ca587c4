package attrdict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrNotEmpty reports a dictionary that was to be filled and has attributes already.
var ErrNotEmpty = errors.New("attrdict: dictionary is not empty")

// A ConflictError names the attributes that two dictionaries have with different values.
// It unwraps to ErrChanged.
type ConflictError struct{ Keys []string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("attrdict: %d attributes have other values in the target, the first is %s", len(e.Keys), e.Keys[0])
}

// Unwrap returns ErrChanged.
func (e *ConflictError) Unwrap() error { return ErrChanged }

// TransferOptions are the options of Transfer.
type TransferOptions struct {
	// Merge allows a target that has attributes. They stay, and none is overwritten.
	Merge bool
	// DryRun finds out what would be done, and does not change, make or lock anything.
	DryRun bool
}

// A Transferred says what Transfer did.
type Transferred struct {
	Copied int `json:"copied"` // attributes that the target did not have
	Same   int `json:"same"`   // that it had with the same values
	Kept   int `json:"kept"`   // of the target that the source does not have
}

// errDone ends a transaction on the source, which is there for its lock.
var errDone = errors.New("attrdict: done")

// Transfer copies every attribute of src to dst, in one transaction of dst's, and compares
// them after it. The source is locked, as for writing, until that is done, so that what
// other programs write is either copied or written after the copy; it is not changed.
// The error wraps ErrNotEmpty or is a *ConflictError where the target has attributes that
// must not be touched: then nothing was copied. The two must not be one file.
func Transfer(ctx context.Context, dst, src Dict, o TransferOptions) (Transferred, error) {
	if o.DryRun {
		return rehearse(ctx, dst, src, o)
	}
	var result Transferred
	err := src.Update(ctx, func(tx Tx) error {
		all, err := everything(tx)
		if err != nil {
			return err
		}
		if result, err = deposit(ctx, dst, all, o); err != nil {
			return err
		}
		if err := compare(ctx, dst, all); err != nil {
			return err
		}
		return errDone // nothing of the source changes
	})
	if !errors.Is(err, errDone) {
		return Transferred{}, fmt.Errorf("attrdict: copying: %w", err)
	}
	return result, nil
}

// rehearse is Transfer as a dry run.
func rehearse(ctx context.Context, dst, src Dict, o TransferOptions) (result Transferred, err error) {
	err = src.View(ctx, func(r Reader) error {
		all, err := everything(r)
		if err != nil {
			return err
		}
		return dst.View(ctx, func(r Reader) error {
			result, _, err = plan(r, all, o)
			return err
		})
	})
	if err != nil {
		return Transferred{}, fmt.Errorf("attrdict: copying: %w", err)
	}
	return result, nil
}

// everything is a copy of all attributes.
func everything(r Reader) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := r.Iterate("", func(key string, value []byte) error {
		all[key] = bytes.Clone(value)
		return nil
	})
	return all, err
}

// deposit is the transaction on the target.
func deposit(ctx context.Context, dst Dict, all map[string][]byte, o TransferOptions) (result Transferred, err error) {
	err = dst.Update(ctx, func(tx Tx) error {
		var missing []string
		if result, missing, err = plan(tx, all, o); err != nil {
			return err
		}
		for _, key := range missing {
			if err := tx.Set(key, all[key]); err != nil {
				return err
			}
		}
		return nil
	})
	return result, err
}

// plan says what a target lacks.
func plan(target Reader, all map[string][]byte, o TransferOptions) (result Transferred, missing []string, err error) {
	var conflicts []string
	same := map[string]bool{}
	err = target.Iterate("", func(key string, value []byte) error {
		if !o.Merge {
			return ErrNotEmpty
		}
		switch want, ok := all[key]; {
		case !ok:
			result.Kept++
		case bytes.Equal(want, value):
			same[key] = true
		default:
			conflicts = append(conflicts, key)
		}
		return nil
	})
	if err != nil {
		return Transferred{}, nil, err
	}
	if len(conflicts) > 0 {
		return Transferred{}, nil, &ConflictError{conflicts}
	}
	for key := range all {
		if !same[key] {
			missing = append(missing, key)
		}
	}
	result.Same, result.Copied = len(same), len(missing)
	return result, missing, nil
}

// compare reads back what was copied.
func compare(ctx context.Context, dst Dict, all map[string][]byte) error {
	return dst.View(ctx, func(r Reader) error {
		for key, value := range all {
			if now, err := r.Get(key); err != nil || !bytes.Equal(now, value) {
				return fmt.Errorf("%s reads back differently: %w", key, errors.Join(err, ErrCorrupt))
			}
		}
		return nil
	})
}

// TransferURI is Transfer between the dictionaries that two URIs name, see Open. The source
// must exist, or the error wraps fs.ErrNotExist: a wrong name must not make an empty copy
// look like success.
func TransferURI(ctx context.Context, to, from, home string, o TransferOptions) (_ Transferred, err error) {
	paths := [2]string{}
	for i, uri := range []string{from, to} {
		if paths[i], err = Path(uri, home); err != nil {
			return Transferred{}, fmt.Errorf("attrdict: copying %q: %w", uri, err)
		}
	}
	info, err := os.Stat(paths[0])
	if err != nil {
		return Transferred{}, fmt.Errorf("attrdict: copying: %w", err)
	}
	other, err := os.Stat(paths[1])
	if err == nil && os.SameFile(info, other) || paths[0] == paths[1] {
		return Transferred{}, fmt.Errorf("attrdict: copying: %s is both source and target", paths[0])
	}
	src, err := Options{ReadOnly: o.DryRun}.Open(from, home)
	if err != nil {
		return Transferred{}, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := Options{ReadOnly: o.DryRun}.Open(to, home)
	if o.DryRun && errors.Is(err, fs.ErrNotExist) {
		dst, err = ReadOnly(nil), nil
	}
	if err != nil {
		return Transferred{}, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	return Transfer(ctx, dst, src, o)
}
