package account

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// A countedBackend notes that it was closed.
type countedBackend struct {
	storage.Backend
	guid   mailbox.GUID
	view   *mailbox.View
	closed chan struct{}
}

func (b *countedBackend) GUID() mailbox.GUID  { return b.guid }
func (b *countedBackend) View() *mailbox.View { return b.view }
func (b *countedBackend) Close() error {
	close(b.closed) // a second time panics
	return errors.New("of no consequence")
}

func (b *countedBackend) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

func counted(n byte) *countedBackend {
	return &countedBackend{guid: mailbox.GUID{n}, view: &mailbox.View{}, closed: make(chan struct{})}
}

func TestKept(t *testing.T) {
	k := kept{log: slog.New(slog.DiscardHandler), idle: time.Hour}
	var boxes []*countedBackend
	for n := range byte(maxKept + 1) {
		boxes = append(boxes, counted(n))
		if err := k.put(boxes[n]); err != nil {
			t.Fatal(err)
		}
	}
	if !boxes[0].isClosed() || boxes[1].isClosed() {
		t.Error("not the one that was left first gave way")
	}
	again := counted(1)
	k.put(again)
	if !boxes[1].isClosed() || boxes[2].isClosed() || again.isClosed() {
		t.Error("a mailbox is kept twice, or another one gave way")
	}
	// A delivery does not look, and takes no session's place.
	blind := counted(1)
	blind.view = nil
	if k.putUnread(blind); !blind.isClosed() || again.isClosed() {
		t.Error("a delivery's mailbox took the place of a session's")
	}
	first, second := counted(20), counted(20)
	first.view, second.view = nil, nil
	k.putUnread(first)
	if k.putUnread(second); first.isClosed() || !second.isClosed() || !boxes[2].isClosed() {
		t.Error("of two deliveries' mailboxes not one is kept, or nothing gave way")
	}
	k.close()
	if !first.isClosed() {
		t.Error("a delivery's mailbox was not closed")
	}
	late := counted(9)
	if err := k.put(late); err == nil {
		t.Error("closing at once says nothing of an error")
	}
	for i, b := range append(boxes, again, late) {
		if !b.isClosed() {
			t.Errorf("backend %d was not closed", i)
		}
	}
}

func TestKeptForAWhile(t *testing.T) {
	k := kept{log: slog.New(slog.DiscardHandler), idle: time.Millisecond}
	b := counted(1)
	k.put(b)
	select {
	case <-b.closed:
	case <-time.After(time.Minute):
		t.Fatal("nobody closes it")
	}
	k.close()
}

func TestKeptIsBounded(t *testing.T) {
	k := kept{log: slog.New(slog.DiscardHandler), idle: time.Hour}
	defer k.close()
	message := &mailbox.Message{UID: 1}
	messages := make([]*mailbox.Message, maxKeptMessages/2+1)
	for i := range messages {
		m := *message
		m.UID = mailbox.UID(i + 1)
		messages[i] = &m
	}
	first, second := counted(1), counted(2)
	first.view = (&mailbox.View{}).Replace(messages...)
	second.view = first.view
	k.put(first)
	if first.isClosed() {
		t.Error("one alone is not kept")
	}
	k.put(second)
	if !first.isClosed() || second.isClosed() {
		t.Error("two large ones are kept")
	}
}
