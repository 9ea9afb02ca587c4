package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"mailcrypt/compress"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
	"mailcrypt/storage"
	"mailcrypt/storage/storagetest"
)

// saveGroup saves n messages as one.
func saveGroup(ctx context.Context, s *storage.Store, n int, to *dcrypt.PublicKey, o storage.Options) (uids []mailbox.UID, err error) {
	var messages []*storage.Appender
	defer func() {
		for _, a := range messages {
			err = errors.Join(err, a.Abort())
		}
	}()
	for i := range n {
		a, err := s.Append(ctx, mailbox.SaveInfo{NeedUID: true}, to, o)
		if err != nil {
			return nil, err
		}
		messages = append(messages, a)
		if _, err := io.WriteString(a, groupText(i)); err != nil {
			return nil, err
		}
		if err := a.Finish(); err != nil {
			return nil, err
		}
	}
	return s.CommitAll(ctx, messages)
}

func groupText(i int) string {
	if i == 2 {
		return "" // an empty message has a form of its own
	}
	return fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", i, i)
}

// single hides that a Backend can show several messages at once.
type single struct{ storage.Backend }

func TestCommitAll(t *testing.T) {
	key := newKey(t)
	for name, wrap := range map[string]func(storage.Backend) storage.Backend{
		"at once":    func(b storage.Backend) storage.Backend { return b },
		"one by one": func(b storage.Backend) storage.Backend { return single{b} },
	} {
		t.Run(name, func(t *testing.T) {
			b := wrap(newInbox(t))
			s := storage.New(b)
			o := storage.Options{Version: 2, Compression: compress.Zstd}
			uids, err := saveGroup(t.Context(), s, 4, key.Public(), o)
			if err != nil || len(uids) != 4 {
				t.Fatalf("CommitAll: %v, %v", uids, err)
			}
			for i, uid := range uids {
				m, err := s.Open(t.Context(), uid, keyring{}.add(key))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
				if err != nil || string(got) != groupText(i) {
					t.Errorf("uid %d: %q, %v", uid, got, err)
				}
				if v := b.View().Get(uid).Sizes.Virtual; v != int64(len(groupText(i))) {
					t.Errorf("uid %d: virtual size %d", uid, v)
				}
				m.Close()
			}
			if uids, err := s.CommitAll(t.Context(), nil); err != nil || len(uids) != 0 {
				t.Errorf("CommitAll of nothing: %v, %v", uids, err)
			}
		})
	}
}

// Where a step fails, nothing is left, whichever step it is.
func TestCommitAllFails(t *testing.T) {
	broken := errors.New("broken")
	for _, alone := range []bool{false, true} {
		for n := int64(1); ; n++ {
			fail, steps := storagetest.FailAt(n, broken)
			f := &storagetest.Faulty{Backend: newInbox(t), Fail: fail}
			var b storage.Backend = f
			if alone {
				b = single{f}
			}
			_, err := saveGroup(t.Context(), storage.New(b), 3, nil, storage.Options{})
			if steps() < n {
				if err != nil || n < 8 {
					t.Errorf("%d steps and then %v", n-1, err)
				}
				break
			}
			if !errors.Is(err, broken) {
				t.Errorf("fault at step %d: %v", n, err)
			}
			if left := b.View().Len(); left != 0 {
				t.Errorf("fault at step %d: %d messages are left", n, left)
			}
		}
	}
}

func TestFinish(t *testing.T) {
	b := newInbox(t)
	s := storage.New(b)
	begin := func(o storage.Options) *storage.Appender {
		a, err := s.Append(t.Context(), mailbox.SaveInfo{NeedUID: true}, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := begin(storage.Options{})
	io.WriteString(a, "a\r\nb")
	for range 2 {
		if err := a.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Write([]byte("c")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Write after Finish: %v", err)
	}
	if got := a.Sizes(); got != (mailbox.Sizes{Physical: 3, Virtual: 4, Stored: 3}) {
		t.Errorf("sizes %+v", got)
	}
	if _, err := a.Commit(); err != nil {
		t.Error(err)
	}
	if err := a.Finish(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Finish after Commit: %v", err)
	}

	large := begin(storage.Options{MaxSize: 3})
	io.WriteString(large, "four")
	if err := large.Finish(); !errors.Is(err, mailbox.ErrTooLarge) {
		t.Errorf("Finish of a message that is too large: %v", err)
	}
	// One that cannot be saved takes the others along.
	good, looks := begin(storage.Options{}), begin(storage.Options{})
	io.WriteString(good, "x")
	looks.Write([]byte("\x1f\x8b\x08 and so on"))
	if _, err := s.CommitAll(t.Context(), []*storage.Appender{good, looks}); !errors.Is(err, mailbox.ErrLooksTransformed) {
		t.Errorf("CommitAll: %v", err)
	}
	other := storage.New(newInbox(t))
	if _, err := other.CommitAll(t.Context(), []*storage.Appender{begin(storage.Options{})}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("messages of another mailbox: %v", err)
	}
	if n := b.View().Len(); n != 1 {
		t.Errorf("%d messages, want the one that was committed", n)
	}
}
