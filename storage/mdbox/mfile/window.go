package mfile

import (
	"bytes"
	"fmt"
	"io"
)

// windowSize is what is read at once, if not more is wanted: headers and metadata of small
// messages are neighbours.
const windowSize = 16 << 10

// A window reads small pieces of a file, in ascending order as a rule.
type window struct {
	r    io.ReaderAt
	size int64
	file uint32 // for errors
	// least is how much is read at least; 0 means windowSize.
	least int64

	buf []byte
	at  int64 // of buf
}

func (w *window) corrupt(at int64, reason string) error {
	return &CorruptError{File: w.file, Offset: at, Reason: reason}
}

// bytes returns n bytes, until the next call.
func (w *window) bytes(at, n int64) ([]byte, error) {
	if at < 0 || at > w.size || n > w.size-at {
		return nil, w.corrupt(at, "the file ends")
	}
	if at < w.at || at+n > w.at+int64(len(w.buf)) {
		if err := w.fill(at, n); err != nil {
			return nil, err
		}
	}
	return w.buf[at-w.at:][:n:n], nil
}

// upTo returns n bytes or what there is up to the end.
func (w *window) upTo(at, n int64) ([]byte, error) { return w.bytes(at, max(0, min(n, w.size-at))) }

func (w *window) fill(at, n int64) error {
	if w.least == 0 {
		w.least = windowSize
	}
	n = min(max(n, w.least), w.size-at)
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.buf, w.at = w.buf[:n], at
	k, err := w.r.ReadAt(w.buf, at)
	if k == len(w.buf) {
		return nil
	}
	w.buf = w.buf[:0]
	if err == io.EOF {
		return w.corrupt(at, "the file ends")
	}
	return fmt.Errorf("mfile: reading at %d: %w", at, err)
}

// index returns the first offset from at on where sep is; io.EOF says that there is none.
func (w *window) index(at int64, sep []byte) (int64, error) {
	for {
		b, err := w.upTo(at, windowSize)
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, sep); i >= 0 {
			return at + int64(i), nil
		}
		if len(b) < windowSize {
			return 0, io.EOF
		}
		at += int64(len(b) - len(sep) + 1)
	}
}
