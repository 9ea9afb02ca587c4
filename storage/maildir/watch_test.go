package maildir

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Directories that are renamed and removed at once, while watches come and go: the kernel
// then tells errors from within, and nobody may wait for another in a circle.
func TestWatchedDirsGoAway(t *testing.T) {
	inMemory(t)
	root := t.TempDir()
	w := NewWatcher(WatcherOptions{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			dir := filepath.Join(root, string(rune('a'+n)))
			for range 2000 {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Error(err)
					return
				}
				s := w.add([]string{dir}, func() {}, nil)
				if err := os.Rename(dir, dir+"-away"); err != nil {
					t.Error(err)
				}
				if err := os.Remove(dir + "-away"); err != nil {
					t.Error(err)
				}
				w.remove(s)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the watcher hangs")
	}
}
