package maildir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mailcrypt/internal/durable"
	"mailcrypt/mailbox"
)

// makeInbox makes INBOX and what is missing above it.
func (h *Hierarchy) makeInbox(ctx context.Context, f folder) error {
	if _, err := os.Stat(f.dir); err == nil {
		return nil
	}
	if err := h.mkdirAll(f.dir); err != nil {
		return fmt.Errorf("maildir: making INBOX: %w", err)
	}
	return h.makeSubdirs(f)
}

// Create makes a mailbox and gives it its identity. The error wraps mailbox.ErrExists,
// ErrName or ErrLimit.
func (h *Hierarchy) Create(ctx context.Context, name string) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	defer h.namesChanged()
	h.folders.Lock()
	defer h.folders.Unlock()
	if err := h.create(ctx, f); err != nil {
		return fmt.Errorf("maildir: creating %s: %w", f.key, err)
	}
	h.mu.Lock()
	h.db().DropIdentity(f.key) // of one that another program has deleted
	h.mu.Unlock()
	// The identity is durable before keys are stored under it.
	b, err := h.acquire(f)
	if err != nil {
		return err
	}
	return errors.Join(b.prepare(ctx), h.release(b))
}

func (h *Hierarchy) create(ctx context.Context, f folder) error {
	if f.inbox() {
		if _, err := os.Stat(f.dir); err == nil {
			return mailbox.ErrExists
		}
		return h.makeInbox(ctx, f)
	}
	above := filepath.Dir(f.top)
	if err := h.mkdirAll(above); err != nil {
		return err
	}
	if h.loc.Layout == FS {
		if isMaildir(f.dir) {
			return mailbox.ErrExists
		}
		if err := h.mkdirAll(f.dir); err != nil {
			return nameError(err)
		}
		return h.makeSubdirs(f)
	}
	if err := h.mkdir(f.dir, above); err != nil {
		return nameError(err)
	}
	if err := h.makeSubdirs(f); err != nil {
		return err
	}
	// For delivery programs that compute quotas (Dovecot: maildir-storage.c).
	mark, err := h.faults.OpenFile(filepath.Join(f.dir, "maildirfolder"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(mark.Close(), h.faults.SyncDir(f.dir))
}

// nameError gives what the file system said its meaning for names.
func nameError(err error) error {
	switch {
	case errors.Is(err, os.ErrExist):
		return mailbox.ErrExists
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", mailbox.ErrLimit, err)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: %w", mailbox.ErrName, err)
	}
	return err
}

// Delete removes a mailbox and its messages; mailboxes below it stay. INBOX cannot be
// deleted: the error wraps mailbox.ErrName. Who has the mailbox open finds it gone.
func (h *Hierarchy) Delete(ctx context.Context, name string) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	if f.inbox() {
		return fmt.Errorf("maildir: deleting INBOX: %w", mailbox.ErrName)
	}
	defer h.namesChanged()
	h.folders.Lock()
	defer h.folders.Unlock()
	b, err := h.freeze(ctx, f)
	if err != nil {
		return err
	}
	defer h.thaw(b)
	if st, err := os.Stat(f.dir); err != nil || !st.IsDir() || h.loc.Layout == FS && !isMaildir(f.dir) {
		return fmt.Errorf("maildir: deleting %s: %w", f.key, h.absent(f))
	}
	if h.loc.Layout == FS {
		err = h.deleteFS(f)
	} else {
		err = h.trash(f.dir, filepath.Join(h.loc.Root, plusTrash))
	}
	if err != nil {
		return fmt.Errorf("maildir: deleting %s: %w", f.key, err)
	}
	b.bury()
	h.mu.Lock()
	db := h.db()
	h.mu.Unlock()
	if id, ok := db.Identity(f.key); ok {
		db.DropMailbox(id.GUID)
	}
	db.DropIdentity(f.key)
	for _, dir := range h.sideDirs(f.key) {
		if h.loc.Layout == FS {
			h.removeFiles(dir)
		} else if err := os.RemoveAll(dir); err != nil {
			h.log.Warn("maildir: removing", "error", err)
		}
	}
	return h.faults.SyncDir(h.loc.Root)
}

// sideDirs are a folder's directories in the CONTROL and INDEX trees.
func (h *Hierarchy) sideDirs(key string) (dirs []string) {
	if h.loc.Control != "" {
		dirs = append(dirs, h.dirIn(h.loc.Control, key))
	}
	if h.loc.Index != "" && h.loc.Index != "MEMORY" && h.loc.Index != h.loc.Control {
		dirs = append(dirs, h.dirIn(h.loc.Index, key))
	}
	return dirs
}

// trash renames a directory away, which deletes it for all others at once, and removes it
// at leisure. What an earlier crash has left under the name goes first.
func (h *Hierarchy) trash(dir, trash string) error {
	for range maxRounds {
		if err := os.RemoveAll(trash); err != nil {
			return err
		}
		err := h.renameNew(dir, trash)
		if errors.Is(err, os.ErrExist) {
			continue // another program deletes as well
		}
		if err != nil {
			return err
		}
		if err := h.faults.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.RemoveAll(trash); err != nil {
			h.log.Warn("maildir: removing deleted folder", "error", err)
		}
		return nil
	}
	return fmt.Errorf("maildir: %s is in use", trash)
}

// deleteFS takes a mailbox out of a directory that may have others below it.
func (h *Hierarchy) deleteFS(f folder) error {
	trash := filepath.Join(h.loc.Root, fsTrash)
	if h.loc.DirName != "" {
		if err := h.trash(f.dir, trash); err != nil {
			return err
		}
	} else {
		for _, sub := range []string{"cur", "new", "tmp"} {
			err := h.trash(filepath.Join(f.dir, sub), trash)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	h.removeFiles(f.top)
	root := durable.Tree{Roots: []string{h.loc.Root}}
	for dir := filepath.Dir(f.top); h.loc.DropParents && dir != h.loc.Root && root.Inside(dir); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break
		}
	}
	return nil
}

// removeFiles removes the files of a directory, and the directory if nothing is left.
func (h *Hierarchy) removeFiles(dir string) {
	list, _ := readDir(dir)
	for _, d := range list {
		if !d.IsDir() {
			if err := h.faults.Remove(filepath.Join(dir, d.Name())); err != nil {
				h.log.Warn("maildir: removing", "error", err)
			}
		}
	}
	_ = os.Remove(dir) // there may be folders below
}

// freeze takes op and paths of a mailbox that is open, so that nobody works in it meanwhile.
func (h *Hierarchy) freeze(ctx context.Context, f folder) (*box, error) {
	h.mu.Lock()
	b := h.boxes[f.key]
	h.mu.Unlock()
	if b == nil {
		return nil, nil
	}
	select {
	case b.op <- struct{}{}:
		b.paths.Lock()
		return b, nil
	case <-ctx.Done():
		return nil, b.wrap("waiting for", ctx.Err())
	}
}

func (h *Hierarchy) thaw(b *box) {
	if b != nil {
		b.paths.Unlock()
		b.unlock()
	}
}

// bury ends a deleted mailbox for those who have it open. op is held.
func (b *box) bury() {
	if b == nil {
		return
	}
	b.h.mu.Lock()
	if b.h.boxes[b.f().key] == b {
		delete(b.h.boxes, b.f().key)
	}
	b.h.mu.Unlock()
	b.mu.Lock()
	if b.idx != nil {
		b.idx.Close()
		b.idx = nil
	}
	b.gone = true
	b.mu.Unlock()
	b.unwatch()
	b.wake()
}

// Rename renames a mailbox and all below it, whose GUIDs and UIDs stay. Who has one of them
// open keeps it. Renaming INBOX is refused with an error that wraps errors.ErrUnsupported.
func (h *Hierarchy) Rename(ctx context.Context, from, to string) error {
	src, err := h.folder(from)
	if err != nil {
		return err
	}
	dst, err := h.folder(to)
	if err != nil {
		return err
	}
	if src.inbox() {
		return fmt.Errorf("maildir: renaming INBOX: %w", errors.ErrUnsupported)
	}
	if src.key == dst.key || dst.inbox() {
		return fmt.Errorf("maildir: renaming %s to %s: %w", src.key, dst.key, mailbox.ErrExists)
	}
	sep := h.loc.Layout.separator()
	if mailbox.IsBelow(dst.key, src.key, sep) {
		return fmt.Errorf("maildir: renaming %s below itself: %w", src.key, mailbox.ErrName)
	}
	defer h.namesChanged()
	h.folders.Lock()
	defer h.folders.Unlock()
	keys, err := h.keys(ctx)
	if err != nil {
		return err
	}
	if _, ok := keys[src.key]; !ok {
		return fmt.Errorf("maildir: renaming %s: %w", src.key, mailbox.ErrNotFound)
	}
	if _, ok := keys[dst.key]; ok {
		return fmt.Errorf("maildir: renaming %s to %s: %w", src.key, dst.key, mailbox.ErrExists)
	}
	var moves []move
	for key := range keys {
		if key == src.key || mailbox.IsBelow(key, src.key, sep) {
			newKey := dst.key + key[len(src.key):]
			name, ok := h.names().Decode(newKey)
			if !ok {
				name = newKey // not visible before either
			}
			if len(newKey) > mailbox.MaxPart-1 && h.loc.Layout == PlusPlus {
				return fmt.Errorf("maildir: renaming %s: %w", src.key, mailbox.ErrLimit)
			}
			moves = append(moves, move{from: h.at("", key), to: h.at(name, newKey), selectable: keys[key]})
		}
	}
	slices.SortFunc(moves, func(a, b move) int { return cmp.Compare(a.from.key, b.from.key) })
	return h.move(ctx, moves)
}

// A move is one folder of a rename.
type move struct {
	from, to   folder
	selectable bool
	box        *box
}

func (h *Hierarchy) move(ctx context.Context, moves []move) (err error) {
	for i := range moves {
		m := &moves[i]
		if m.box, err = h.freeze(ctx, m.from); err != nil {
			return err
		}
		defer h.thaw(m.box)
	}
	if err := h.moveDirs(moves); err != nil {
		return fmt.Errorf("maildir: renaming %s: %w", moves[0].from.key, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	db := h.db()
	for _, m := range moves {
		db.RenameIdentity(m.from.key, m.to.key)
		if m.box == nil || h.boxes[m.from.key] != m.box {
			continue // nobody has it open, or the last who had it has let go meanwhile
		}
		delete(h.boxes, m.from.key)
		h.boxes[m.to.key] = m.box
		m.box.moved(m.to)
	}
	return nil
}

// moved gives an open mailbox its new place. op is held.
func (b *box) moved(to folder) {
	b.mu.Lock()
	b.at.Store(&to)
	b.mu.Unlock()
	if b.unwatch() {
		b.mu.Lock()
		if len(b.waiting) > 0 {
			b.watchDirs()
		}
		b.mu.Unlock()
	}
}

// moveDirs renames directories: in Maildir++ one for each folder, in fs the topmost. A
// failure undoes what was done.
func (h *Hierarchy) moveDirs(moves []move) (err error) {
	var done [][2]string
	defer func() {
		if err == nil {
			return
		}
		for _, d := range slices.Backward(done) {
			if uerr := h.renameNew(d[1], d[0]); uerr != nil {
				h.log.Error("maildir: undoing a rename", "error", uerr)
			}
		}
	}()
	rename := func(from, to string) error {
		if err := h.mkdirAll(filepath.Dir(to)); err != nil {
			return err
		}
		if err := h.renameNew(from, to); err != nil {
			return nameError(err)
		}
		done = append(done, [2]string{from, to})
		return nil
	}
	if h.loc.Layout == FS {
		moves = moves[:1]
	}
	for _, m := range moves {
		if m.selectable || h.loc.Layout == FS {
			if err := rename(m.from.top, m.to.top); err != nil {
				return err
			}
		}
		to := h.sideDirs(m.to.key)
		for i, dir := range h.sideDirs(m.from.key) {
			err := rename(dir, to[i])
			// A leftover without mailbox is in the way.
			if errors.Is(err, mailbox.ErrExists) && os.RemoveAll(to[i]) == nil {
				err = rename(dir, to[i])
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	synced := map[string]bool{}
	for _, d := range done {
		for _, path := range d {
			if dir := filepath.Dir(path); !synced[dir] && !strings.HasPrefix(path, d[0]+"/") {
				synced[dir] = true
				if err := h.faults.SyncDir(dir); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
