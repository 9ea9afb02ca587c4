package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// Memory is a hierarchy of mailboxes in memory, the plainest thing that keeps the
// contracts of storage.Hierarchy and storage.Backend. It serves the tests of what is
// built on them, here and in programs that embed these packages. What it holds lives
// as long as it does, over any number of Close and Open.
//
// All methods may be called concurrently.
type Memory struct {
	sep byte

	mu       sync.Mutex
	boxes    map[string]*memoryBox
	subs     map[string]bool
	waiting  map[*func()]struct{} // those of Watch
	validity uint32
}

// NewMemory returns an empty hierarchy.
func NewMemory(separator byte) *Memory {
	return &Memory{sep: separator, boxes: map[string]*memoryBox{}, subs: map[string]bool{}, waiting: map[*func()]struct{}{}, validity: 1}
}

// Separator implements storage.Hierarchy.
func (m *Memory) Separator() byte { return m.sep }

// List implements storage.Hierarchy.
func (m *Memory) List(context.Context) ([]storage.Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]bool{}
	for name := range m.boxes {
		found[name] = true
		for up := mailbox.ParentName(name, m.sep); up != ""; up = mailbox.ParentName(up, m.sep) {
			found[up] = found[up] || m.boxes[up] != nil
		}
	}
	folders := make([]storage.Folder, 0, len(found))
	for name, selectable := range found {
		folders = append(folders, storage.Folder{Name: name, Selectable: selectable})
	}
	return folders, nil
}

// Open implements storage.Hierarchy. Every Backend of a mailbox shows the same.
func (m *Memory) Open(_ context.Context, name string) (storage.Backend, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// find returns a mailbox, making INBOX if missing. m.mu is held.
func (m *Memory) find(name string) (*memoryBox, error) {
	if b := m.boxes[name]; b != nil {
		return b, nil
	}
	if name == mailbox.Inbox {
		return m.add(name), nil
	}
	if m.isLevel(name) {
		return nil, fmt.Errorf("storagetest: %w", mailbox.ErrNotSelectable)
	}
	return nil, fmt.Errorf("storagetest: %w", mailbox.ErrNotFound)
}

func (m *Memory) isLevel(name string) bool {
	for other := range m.boxes {
		if mailbox.IsBelow(other, name, m.sep) {
			return true
		}
	}
	return false
}

func (m *Memory) add(name string) *memoryBox {
	m.validity++
	b := newMemoryBox(m.validity)
	m.boxes[name] = b
	return b
}

// GUID implements storage.Hierarchy.
func (m *Memory) GUID(_ context.Context, name string) (mailbox.GUID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(name)
	if err != nil {
		return mailbox.GUID{}, err
	}
	return b.GUID(), nil
}

// Create implements storage.Hierarchy.
func (m *Memory) Create(_ context.Context, name string) error {
	if err := mailbox.CheckName(name, m.sep); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes[name] != nil || name == mailbox.Inbox {
		return fmt.Errorf("storagetest: %w", mailbox.ErrExists)
	}
	m.add(name)
	m.changed()
	return nil
}

// Delete implements storage.Hierarchy. What is below the mailbox stays.
func (m *Memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == mailbox.Inbox {
		return fmt.Errorf("storagetest: INBOX cannot be deleted: %w", mailbox.ErrName)
	}
	b, err := m.find(name)
	if err != nil {
		return err
	}
	b.delete()
	delete(m.boxes, name)
	m.changed()
	return nil
}

// Rename implements storage.Hierarchy.
func (m *Memory) Rename(_ context.Context, from, to string) error {
	if err := mailbox.CheckName(to, m.sep); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case from == mailbox.Inbox || mailbox.IsBelow(to, from, m.sep):
		return fmt.Errorf("storagetest: renaming: %w", mailbox.ErrName)
	case m.boxes[from] == nil && !m.isLevel(from):
		return fmt.Errorf("storagetest: %w", mailbox.ErrNotFound)
	case m.boxes[to] != nil || m.isLevel(to) || to == mailbox.Inbox:
		return fmt.Errorf("storagetest: %w", mailbox.ErrExists)
	}
	moved := map[string]*memoryBox{}
	for name, b := range m.boxes {
		if name == from || mailbox.IsBelow(name, from, m.sep) {
			moved[to+strings.TrimPrefix(name, from)] = b
			delete(m.boxes, name)
		}
	}
	for name, b := range moved {
		m.boxes[name] = b
	}
	m.changed()
	return nil
}

// Watch implements storage.Hierarchy.
func (m *Memory) Watch(fn func()) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting[&fn] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, &fn)
	}
}

// changed wakes those who watch. m.mu is held.
func (m *Memory) changed() {
	for fn := range m.waiting {
		go (*fn)()
	}
}

// Subscriptions implements storage.Hierarchy.
func (m *Memory) Subscriptions(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.subs))
	for name := range m.subs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Subscribe implements storage.Hierarchy.
func (m *Memory) Subscribe(_ context.Context, name string, on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on {
		m.subs[name] = true
	} else {
		delete(m.subs, name)
	}
	m.changed()
	return nil
}

// Close implements storage.Hierarchy and does nothing.
func (m *Memory) Close() error { return nil }
