package userdb

import (
	"fmt"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// A watcher calls back when a file may have changed. It watches the directory: editors and
// this program replace the file by renaming.
type watcher struct {
	w    *fsnotify.Watcher
	done chan struct{}
}

func watch(path string, changed func()) (*watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("userdb: watching %s: %w", path, err)
	}
	if err := fs.Add(filepath.Dir(path)); err != nil {
		fs.Close()
		return nil, fmt.Errorf("userdb: watching %s: %w", path, err)
	}
	w := &watcher{fs, make(chan struct{})}
	go func() {
		defer close(w.done)
		for {
			select {
			case e, ok := <-fs.Events:
				if !ok {
					return
				}
				if filepath.Base(e.Name) == filepath.Base(path) && !e.Has(fsnotify.Chmod) {
					changed()
				}
			case _, ok := <-fs.Errors: // an overflow: look
				if !ok {
					return
				}
				changed()
			}
		}
	}()
	return w, nil
}

// close waits for the goroutine; a nil watcher never ran.
func (w *watcher) close() error {
	if w == nil {
		return nil
	}
	err := w.w.Close()
	<-w.done
	if err != nil {
		return fmt.Errorf("userdb: watching: %w", err)
	}
	return nil
}
