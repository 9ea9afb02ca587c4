package index

import (
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// limitFileSize keeps this process from making a file larger than it is, as a full disk
// does, until restore is called.
func limitFileSize(t *testing.T, path string) (restore func()) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(st.Size()), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
		signal.Reset(unix.SIGXFSZ)
	}
	t.Cleanup(restore)
	return restore
}
