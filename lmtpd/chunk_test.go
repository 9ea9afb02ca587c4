package lmtpd

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

type panicCounter struct {
	noMetrics
	n atomic.Int64
}

func (c *panicCounter) Panic() { c.n.Add(1) }

// TestCutBeforeChunk leaves after BDAT and before its first byte, when go-smtp's goroutine
// for the chunks may not yet run. It must end as any other cut: no message, no panic.
func TestCutBeforeChunk(t *testing.T) {
	metrics := &panicCounter{}
	s, users, dial := serve(t, "tcp", Options{Metrics: metrics})
	for range 200 {
		c := dial().ready("a@x")
		c.send("BDAT 10 LAST\r\n")
		c.Close()
	}
	// A refused chunk is dropped without anybody to take it.
	c := dial()
	c.want("220 ")
	c.do("LHLO x", "250-")
	c.send("BDAT 3 LAST\r\nabcNOOP\r\n")
	c.want("502 ")
	c.want("250 ")
	c.mail("a@x")
	c.send("BDAT 3 LAST\r\nabc")
	c.want("250 2.0.0 ")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := metrics.n.Load(); n != 0 {
		t.Errorf("%d panics", n)
	}
	if n := users.total(); n != 1 {
		t.Errorf("%d messages saved, want 1", n)
	}
}

// TestPanicLog reports go-smtp's panics by their stack, which holds no text of a message,
// and never by their value.
func TestPanicLog(t *testing.T) {
	var log strings.Builder
	metrics := &panicCounter{}
	s := NewServer(Options{Users: &fakeUsers{}, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	errorLog{s}.Printf("panic serving %v: %v\n%s", io.Discard, errors.New("Subject: secret"), []byte("goroutine 1 [running]:\nmain.main()"))
	if got := log.String(); !strings.Contains(got, "main.main()") || strings.Contains(got, "secret") || metrics.n.Load() != 1 {
		t.Errorf("logged %s, %d panics", got, metrics.n.Load())
	}
}
