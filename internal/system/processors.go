package system

import (
	"os"
	"runtime"
)

// WaitOnFiles lets more goroutines be under way than there are processors, for most of what a
// server that syncs does is to wait for files. The runtime takes a goroutine that waits in a
// system call for one that runs, until it has looked several times; two connections that
// sync would keep all others of two processors from running meanwhile. Who sets GOMAXPROCS has
// decided otherwise. It is called once, before there are any goroutines.
func WaitOnFiles() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
