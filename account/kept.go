package account

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// What an account keeps of mailboxes that its sessions have left.
const (
	maxKept         = 4
	maxKeptMessages = 250_000 // of all of them; one alone may have more
)

// kept are mailboxes that were in use a moment ago. Clients go from folder to folder and come
// back, and the next session opens what the last one closed; a backend that is open costs a
// look at what has changed, and one that is not is read anew, message by message.
type kept struct {
	log  *slog.Logger
	idle time.Duration // how long each stays

	mu     sync.Mutex
	list   []*keptBox // the one that was left first comes first
	closed bool
}

type keptBox struct {
	guid     mailbox.GUID
	messages int
	backend  storage.Backend
	timer    *time.Timer
}

// put takes a backend over from a session that is done with it, and closes it some time.
func (k *kept) put(b storage.Backend) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.idle <= 0 {
		return b.Close()
	}
	box := &keptBox{guid: b.GUID(), messages: b.View().Len(), backend: b}
	k.add(box)
	return nil
}

// putUnread is put for who has not looked at the mailbox, and does not look for this: a
// delivery. A session's stays as it is.
func (k *kept) putUnread(b storage.Backend) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	guid := b.GUID()
	if k.closed || k.idle <= 0 || slices.ContainsFunc(k.list, func(other *keptBox) bool { return other.guid == guid }) {
		return b.Close()
	}
	k.add(&keptBox{guid: guid, backend: b})
	return nil
}

// add keeps a mailbox; k.mu is held.
func (k *kept) add(box *keptBox) {
	for i, other := range k.list {
		if other.guid == box.guid {
			k.drop(i)
			break
		}
	}
	k.list = append(k.list, box)
	box.timer = time.AfterFunc(k.idle, func() { k.expire(box) })
	for len(k.list) > 1 && (len(k.list) > maxKept || k.messages() > maxKeptMessages) {
		k.drop(0)
	}
}

func (k *kept) messages() (n int) {
	for _, box := range k.list {
		n += box.messages
	}
	return n
}

func (k *kept) expire(box *keptBox) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, other := range k.list {
		if other == box {
			k.drop(i)
			return
		}
	}
}

// drop closes one; k.mu is held.
func (k *kept) drop(i int) {
	box := k.list[i]
	k.list = append(k.list[:i:i], k.list[i+1:]...)
	box.timer.Stop()
	if err := box.backend.Close(); err != nil {
		k.log.Warn("closing a mailbox that nobody uses", "err", err)
	}
}

// close closes all of them. What is put from then on is closed at once.
func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for len(k.list) > 0 {
		k.drop(0)
	}
}
