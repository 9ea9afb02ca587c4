package maildir

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long events of one mailbox are gathered before it is looked at.
	settle = 30 * time.Millisecond
	// pollInterval is how often a mailbox is looked at that the kernel does not watch.
	pollInterval = 5 * time.Second
)

// WatcherOptions are settings of a Watcher. The zero value works.
type WatcherOptions struct {
	Interval time.Duration // between looks where the kernel cannot watch; 0 means 5 s
	PollOnly bool          // do not ask the kernel, for file systems that tell nothing (NFS)
	Logger   *slog.Logger  // nil is silent
}

// A Watcher tells of changes that other programs make in mailboxes. A process needs one,
// whatever the number of users: it watches only mailboxes that somebody waits on. Where the
// kernel has no more watches to give it looks from time to time. The caller closes it after
// the hierarchies that use it.
type Watcher struct {
	interval time.Duration
	pollOnly bool
	log      *slog.Logger
	stop     chan struct{}
	running  sync.WaitGroup

	// asking is held while the kernel's watches change, and taken before mu. mu must not be
	// held then: fsnotify may be waiting meanwhile, with a lock of its own, for us to take
	// what it has to tell.
	asking sync.Mutex

	mu      sync.Mutex
	kernel  *fsnotify.Watcher // made when first needed
	dirs    map[string]map[*watch]struct{}
	polled  map[*watch]struct{}
	polling bool
	closed  bool
}

// A watch is one mailbox that somebody waits on.
type watch struct {
	dirs  []string
	wake  func()
	only  func(base string) bool // which names in the directories matter; nil: all
	timer *time.Timer            // set while events are gathered
	off   bool
}

// NewWatcher returns a Watcher. It takes no resources until something is watched.
func NewWatcher(o WatcherOptions) *Watcher {
	if o.Interval == 0 {
		o.Interval = pollInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watcher{interval: o.Interval, pollOnly: o.PollOnly, log: o.Logger, stop: make(chan struct{}),
		dirs: map[string]map[*watch]struct{}{}, polled: map[*watch]struct{}{}}
}

// Close ends all watches.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	close(w.stop)
	kernel := w.kernel
	w.mu.Unlock()
	var err error
	if kernel != nil {
		err = kernel.Close()
	}
	w.running.Wait()
	return err
}

// add calls wake, in a goroutine of its own, after something has changed in the
// directories, and now and then for nothing. only, unless nil, picks the names that matter.
func (w *Watcher) add(dirs []string, wake func(), only func(base string) bool) *watch {
	s := &watch{dirs: dirs, wake: wake, only: only}
	w.asking.Lock()
	defer w.asking.Unlock()
	for _, dir := range dirs {
		if w.watchDir(dir, s) {
			continue
		}
		w.mu.Lock()
		if s.off = w.closed; !s.off {
			w.poll(s)
		}
		w.mu.Unlock()
		break
	}
	return s
}

// addPolled calls wake from time to time.
func (w *Watcher) addPolled(wake func()) *watch {
	s := &watch{wake: wake}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.off = w.closed; !s.off {
		w.poll(s)
	}
	return s
}

// watchDir asks the kernel to watch a directory. w.asking is held.
func (w *Watcher) watchDir(dir string, s *watch) bool {
	w.mu.Lock()
	ok := !w.closed && w.openKernel()
	kernel, known := w.kernel, w.dirs[dir] != nil
	w.mu.Unlock()
	if !ok {
		return false
	}
	if !known {
		if err := kernel.Add(dir); err != nil {
			w.log.Warn("maildir: cannot watch, looking from time to time", "dir", dir, "error", err)
			return false
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !known {
		w.dirs[dir] = map[*watch]struct{}{}
	}
	w.dirs[dir][s] = struct{}{}
	return true
}

// openKernel begins to listen to the kernel, once. w.mu is held.
func (w *Watcher) openKernel() bool {
	if w.pollOnly || w.kernel != nil {
		return !w.pollOnly
	}
	kernel, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("maildir: no inotify, looking from time to time", "error", err)
		w.pollOnly = true
		return false
	}
	w.kernel = kernel
	w.running.Go(func() { w.run(kernel) })
	return true
}

// poll looks after a watch from time to time. w.mu is held.
func (w *Watcher) poll(s *watch) {
	w.polled[s] = struct{}{}
	if w.polling {
		return
	}
	w.polling = true
	w.running.Go(func() {
		t := time.NewTicker(w.interval)
		defer t.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-t.C:
			}
			w.mu.Lock()
			if len(w.polled) == 0 {
				w.polling = false
				w.mu.Unlock()
				return
			}
			for s := range w.polled {
				w.gather(s)
			}
			w.mu.Unlock()
		}
	})
}

// remove ends a watch.
func (w *Watcher) remove(s *watch) {
	w.asking.Lock()
	defer w.asking.Unlock()
	for _, dir := range w.forget(s) {
		_ = w.kernel.Remove(dir) // the directory may be gone
	}
}

// forget takes a watch out, and returns the directories that nobody watches any more.
func (w *Watcher) forget(s *watch) (unwatched []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.off = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	delete(w.polled, s)
	for _, dir := range s.dirs {
		if w.dirs[dir] == nil {
			continue
		}
		delete(w.dirs[dir], s)
		if len(w.dirs[dir]) == 0 {
			delete(w.dirs, dir)
			if !w.closed {
				unwatched = append(unwatched, dir)
			}
		}
	}
	return unwatched
}

func (w *Watcher) run(kernel *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-kernel.Events:
			if !ok {
				return
			}
			w.event(e)
		case err, ok := <-kernel.Errors:
			if !ok {
				return
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("maildir: watching", "error", err)
			}
			w.wakeAll()
		}
	}
}

func (w *Watcher) event(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	base := filepath.Base(e.Name)
	for s := range w.dirs[filepath.Dir(e.Name)] {
		if s.only == nil || s.only(base) {
			w.gather(s)
		}
	}
	for s := range w.dirs[e.Name] { // the directory itself went away
		w.gather(s)
	}
}

func (w *Watcher) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, watches := range w.dirs {
		for s := range watches {
			w.gather(s)
		}
	}
}

// gather wakes once for the events of a short time. w.mu is held.
func (w *Watcher) gather(s *watch) {
	if s.timer != nil || s.off {
		return
	}
	s.timer = time.AfterFunc(settle, func() {
		w.mu.Lock()
		s.timer = nil
		off := s.off
		w.mu.Unlock()
		if !off {
			s.wake()
		}
	})
}
