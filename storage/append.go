package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/internal/crlf"
	"mailcrypt/mailbox"
)

// Append begins to save one message. What reaches the backend is
// encrypt(compress(text with LF)), the order that Dovecot reads back. to is nil only
// where o.Version is 0; otherwise the error wraps ErrNoPublicKey.
func (s *Store) Append(ctx context.Context, info mailbox.SaveInfo, to *dcrypt.PublicKey, o Options) (_ *Appender, err error) {
	switch {
	case o.Version < 0 || o.Version > 2:
		return nil, fmt.Errorf("storage: saving: stream version %d: %w", o.Version, errors.ErrUnsupported)
	case o.Version != 0 && to == nil:
		return nil, fmt.Errorf("storage: saving: %w", ErrNoPublicKey)
	}
	a := &Appender{backend: s.backend, file: &sink{}, max: o.MaxSize, admit: o.Admit}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Abort())
		}
	}()
	var below io.Writer = a.file
	if o.Version != 0 {
		enc, err := dcrypt.NewWriter(below, to, dcrypt.WriterOptions{Version: o.Version, Rounds: o.Rounds, KeyData: o.KeyData})
		if err != nil {
			return nil, fmt.Errorf("storage: saving: %w", err)
		}
		enc.Prepare() // while the file is made and the text comes
		a.layers = append(a.layers, enc)
		below = enc
	}
	if a.file.p, err = s.backend.Create(ctx, info); err != nil {
		return nil, fmt.Errorf("storage: saving: %w", err)
	}
	if o.Compression != compress.None {
		zip, err := compress.NewWriter(below, o.Compression, o.Level)
		if err != nil {
			return nil, fmt.Errorf("storage: saving: %w", err)
		}
		a.layers = append(a.layers, zip)
		below = zip
	}
	a.guard = guard{w: below, encrypted: o.Version != 0, compressed: o.Compression != compress.None}
	a.lf = crlf.NewLFWriter(&a.guard)
	return a, nil
}

// An Appender takes one message's plaintext with any line ends. It ends with Commit,
// Store.CommitAll or Abort. It is not safe for concurrent use.
type Appender struct {
	backend  Backend
	file     *sink
	layers   []io.Closer // the outermost, which is nearest to the disk, first
	guard    guard
	lf       *crlf.LFWriter // nil once finished
	sizes    mailbox.Sizes  // once finished
	max      int64
	admit    func(int, mailbox.Sizes) (func(), error) // Options.Admit
	err      error                                    // of the first Write that failed
	finished bool
	done     bool
}

// Write returns an error wrapping mailbox.ErrTooLarge once the message is above
// Options.MaxSize, and one wrapping mailbox.ErrLooksTransformed where it begins like
// a stream that readers would transform; in that case nothing has been written. After
// an error all that is left is Abort; Commit returns the error, too.
func (a *Appender) Write(p []byte) (int, error) {
	if a.done || a.finished {
		return 0, fmt.Errorf("storage: saving: %w", ErrClosed)
	}
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.lf.Write(p)
	if err == nil && a.max > 0 && a.lf.Virtual() > a.max {
		err = fmt.Errorf("more than %d bytes: %w", a.max, mailbox.ErrTooLarge)
	}
	if err != nil {
		a.err = fmt.Errorf("storage: saving: %w", err)
	}
	return n, a.err
}

// Sizes are the sizes of what was written so far; after Finish and Commit, of the message.
func (a *Appender) Sizes() mailbox.Sizes {
	if a.lf == nil {
		return a.sizes
	}
	return mailbox.Sizes{Physical: a.lf.Physical(), Virtual: a.lf.Virtual(), Stored: a.file.n}
}

// Finish ends the writing without showing the message, which Commit and Store.CommitAll
// do. It is for those who save many messages as one: a finished Appender holds no
// plaintext and, where the Backend's Pending is a Finisher, no open file, and what can
// fail of writing and syncing has failed. After an error nothing is left of the message. A
// second Finish does nothing.
func (a *Appender) Finish() error {
	switch {
	case a.done:
		return fmt.Errorf("storage: saving: %w", ErrClosed)
	case a.finished:
		return nil
	}
	if a.err == nil {
		a.err = a.finish()
	}
	if f, ok := a.file.p.(Finisher); ok && a.err == nil {
		if err := f.Finish(); err != nil {
			a.err = fmt.Errorf("storage: saving: %w", err)
		}
	}
	if a.err != nil {
		return errors.Join(a.err, a.Abort())
	}
	a.finished = true
	a.forget()
	return nil
}

// Commit makes the message durable and visible and returns its UID, 0 where
// SaveInfo.NeedUID was false and none was given. On an error nothing is left of it.
func (a *Appender) Commit() (mailbox.UID, error) {
	if a.done {
		return 0, fmt.Errorf("storage: saving: %w", ErrClosed)
	}
	if a.err == nil && !a.finished {
		a.err = a.finish()
	}
	if a.err == nil && a.admit != nil {
		done, err := a.admit(1, a.Sizes())
		if a.err = err; err == nil {
			defer done()
		}
	}
	if a.err != nil {
		return 0, errors.Join(a.err, a.Abort())
	}
	a.end()
	uid, err := a.file.p.Commit(a.sizes)
	if err != nil {
		err = fmt.Errorf("storage: saving: %w", err)
		return 0, errors.Join(err, a.file.p.Abort())
	}
	return uid, nil
}

// finish writes what the layers still hold.
func (a *Appender) finish() error {
	if err := a.guard.end(); err != nil {
		return fmt.Errorf("storage: saving: %w", err)
	}
	if a.lf.Physical() == 0 {
		// An empty message is an empty file. A stream with an empty body would be
		// unreadable for Dovecot, which wants 17 bytes after the header.
		a.file.discard = true
	}
	err := a.close()
	if a.file.discard {
		a.file.n = 0
	}
	if err != nil {
		return fmt.Errorf("storage: saving: %w", err)
	}
	return nil
}

// close ends the layers, the innermost first.
func (a *Appender) close() (err error) {
	for i := len(a.layers) - 1; i >= 0 && err == nil; i-- {
		err = a.layers[i].Close()
	}
	a.layers = nil
	return err
}

// Abort removes what was written. After Commit it does nothing.
func (a *Appender) Abort() error {
	if a.done {
		return nil
	}
	// The layers are closed, into nothing, so that keys die and encoders are used again.
	a.file.discard = true
	_ = a.close()
	a.end()
	if a.file.p == nil { // it was not made
		return nil
	}
	if err := a.file.p.Abort(); err != nil {
		return fmt.Errorf("storage: saving: abort: %w", err)
	}
	return nil
}

// end is after the last call.
func (a *Appender) end() {
	a.done = true
	a.forget()
}

// forget overwrites the plaintext that buffers hold, and lets go of them.
func (a *Appender) forget() {
	clear(a.guard.head[:])
	if a.lf != nil {
		a.sizes = a.Sizes()
		a.lf.Clear()
		a.lf, a.guard.w = nil, nil
	}
}

// A sink counts what reaches the backend.
type sink struct {
	p       mailbox.Pending
	n       int64
	discard bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.discard {
		return len(p), nil
	}
	n, err := s.p.Write(p)
	s.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// A guard holds back a message's first bytes until it is sure that no reader will
// take the stored message for something else.
type guard struct {
	w                     io.Writer
	encrypted, compressed bool // what the layers below do
	n                     int
	head                  [compress.MaxMagic]byte
	passed                bool
}

func (g *guard) Write(p []byte) (int, error) {
	if g.passed {
		return g.w.Write(p)
	}
	taken := copy(g.head[g.n:], p)
	g.n += taken
	if g.n < len(g.head) {
		return taken, nil
	}
	if err := g.end(); err != nil {
		return 0, err
	}
	if taken == len(p) {
		return taken, nil
	}
	n, err := g.w.Write(p[taken:])
	return taken + n, err
}

// end decides by what there is and lets it pass. Readers look for the magic of
// encryption first and for that of compression in what comes out, one layer each:
// so compression protects a text from being decompressed, encrypted or not.
func (g *guard) end() error {
	if g.passed {
		return nil
	}
	head := g.head[:g.n]
	if !g.encrypted && dcrypt.IsEncrypted(head) || !g.compressed && compress.Detect(head) != compress.None {
		return mailbox.ErrLooksTransformed
	}
	g.passed = true
	if g.n == 0 {
		return nil
	}
	_, err := g.w.Write(head)
	return err
}
