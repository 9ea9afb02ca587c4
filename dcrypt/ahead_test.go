package dcrypt

import (
	"bytes"
	"testing"
	"time"
)

// write is a stream by a prepared Writer, and the key data that it had.
func write(t *testing.T, to *PublicKey, o WriterOptions, plain []byte) (stream, kd []byte, w *Writer) {
	t.Helper()
	var out bytes.Buffer
	o.KeyData = func(_, is []byte) { kd = bytes.Clone(is) }
	w, err := NewWriter(&out, to, o)
	if err != nil {
		t.Fatal(err)
	}
	w.Prepare()
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), kd, w
}

// waiting is the header that a key has ahead, once it is made.
func waiting(to *PublicKey) *aheadHeader {
	a := &to.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != nil {
		m := <-a.next.made
		a.next.made <- m
	}
	return a.next
}

// A key that is used again and again has one header ahead, which serves one stream of its kind.
func TestAhead(t *testing.T) {
	k := testKeys()[Secp384r1]
	to := newPublic(k.pub.info, k.pub.point)
	to.ahead.life = time.Hour
	plain := fill(7, 5000)
	seen := map[string]bool{}
	for i := range 20 {
		before := waiting(to)
		if i < 2 != (before == nil) {
			t.Fatalf("before stream %d: a header ahead: %v", i, before != nil)
		}
		stream, kd, w := write(t, to, WriterOptions{}, plain)
		if before != nil && w.head != before.head {
			t.Errorf("stream %d has another header than the one that was ready", i)
		}
		if got, err := readStream(stream, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("stream %d: %v", i, err)
		}
		for _, s := range []string{string(kd), string(w.head.Recipients[0].ephemeral), string(w.head.Recipients[0].wrapped)} {
			if seen[s] {
				t.Fatalf("stream %d has what another has, too", i)
			}
			seen[s] = true
		}
	}
	mine := waiting(to)
	stream, _, w := write(t, to, WriterOptions{Cipher: "aes-128-gcm", Rounds: 3}, plain)
	if w.head == mine.head || w.head.Rounds != 3 {
		t.Error("a stream of another kind took the header")
	}
	if got, err := readStream(stream, KeyList{k}); err != nil || !bytes.Equal(got, plain) {
		t.Error(err)
	}
	if waiting(to) != mine {
		t.Error("a stream of another kind put a second header beside the one that is ready")
	}

	m := <-mine.made
	mine.made <- m
	to.ahead.drop(mine)
	if waiting(to) != nil || !bytes.Equal(m.kd, make([]byte, len(m.kd))) {
		t.Error("a header that nobody came for is still there")
	}
	to.ahead.used = time.Now().Add(-time.Hour)
	if write(t, to, WriterOptions{}, plain); waiting(to) != nil {
		t.Error("a key that is seldom used has a header ahead")
	}
}

// A header that cannot be made ahead is an error of the stream that takes it.
func TestAheadFails(t *testing.T) {
	k := testKeys()[Prime256v1]
	to := newPublic(k.pub.info, k.pub.point)
	to.ahead.life = time.Hour
	write(t, to, WriterOptions{}, fill(1, 100))
	write(t, to, WriterOptions{}, fill(1, 100))
	n := waiting(to)
	<-n.made
	n.made <- making{err: errPrepare}
	var out bytes.Buffer
	w, err := NewWriter(&out, to, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Prepare()
	_, werr := w.Write(fill(1, 100))
	if err := w.Close(); err == nil || out.Len() != 0 {
		t.Errorf("a stream without header: %v, %v, %d octets", werr, err, out.Len())
	}
}
