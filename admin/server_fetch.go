package admin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// pieceTimeout bounds how long a client may leave a piece of text unread: somebody may be
// reading the message a page at a time.
const pieceTimeout = 10 * time.Minute

// drainTimeout is what is left of it after a cancel, for a client that reads on.
const drainTimeout = 2 * time.Second

// fetch carries out Fetch, and puts into the log who is given what. The line for text comes
// before the text does.
func (sc *serverConn) fetch(ctx context.Context, r FetchRequest) (FetchResult, error) {
	log := sc.srv.log.With("user", r.User, "mailbox", r.Mailbox, "uid", r.UID, "part", r.Part, "by_uid", sc.peer.Uid, "by_pid", sc.peer.Pid)
	if login := loginUID(sc.peer.Pid); login != "" {
		log = log.With("by_login_uid", login)
	}
	// What waits in a Write when the request is canceled must not wait on.
	stop := context.AfterFunc(ctx, func() { sc.c.SetWriteDeadline(time.Now().Add(drainTimeout)) })
	defer stop()
	began := false
	result, err := sc.srv.service.Fetch(ctx, r, writerFunc(func(p []byte) (int, error) {
		if !began {
			began = true
			log.Info("a message is given out")
		}
		return sc.writePieces(ctx, p)
	}))
	if err != nil {
		log.Info("fetch ended with an error", "bytes", result.Bytes, "kinds", strings.Join(toWire(err).Kinds, " "))
	} else {
		log.Info("fetch ended", "bytes", result.Bytes)
	}
	return result, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// writePieces sends text in lines of bounded length. It waits as long as the client reads.
func (sc *serverConn) writePieces(ctx context.Context, p []byte) (n int, err error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for n < len(p) {
		piece := p[n:min(len(p), n+pieceSize)]
		// In this order: a cancel after the second line shortens the deadline of the first.
		sc.c.SetWriteDeadline(time.Now().Add(pieceTimeout))
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := sc.out.Encode(response{Piece: piece}); err != nil {
			return n, fmt.Errorf("sending it to the client: %w", err)
		}
		n += len(piece)
	}
	return n, nil
}

// loginUID is the user who has logged in to run a process, whatever user it runs as by now: a
// tool that root starts goes on as the owner of the store. "" where nobody has, or the system
// does not keep it.
func loginUID(pid int32) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	text = bytes.TrimSpace(text)
	if err != nil || string(text) == "4294967295" {
		return ""
	}
	return string(text)
}
