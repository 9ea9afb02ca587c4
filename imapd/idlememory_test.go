package imapd

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestIdleMemory tells what an idle connection costs the server: TLS, a mailbox selected,
// IDLE. The clients are another process.
//
//	IDLE_CONNECTIONS=10000 go test -run TestIdleMemory -v ./imapd
//
// IDLE_COMPRESS=1 compresses them, IDLE_PROFILE=FILE writes a heap profile.
func TestIdleMemory(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("IDLE_CONNECTIONS"))
	if n <= 0 {
		t.Skip("set IDLE_CONNECTIONS to a number")
	}
	f := newFixture(t, func(o *Options) { o.TLSConfig = certificate(t) })
	for range 100 {
		f.add("INBOX", simple)
	}
	f.listen(true, false)
	idleClients(t, f, 100)() // what is made once is made now
	before := inUse()
	stop := idleClients(t, f, n)
	defer stop()
	after := inUse()
	t.Logf("%d connections: %.1f KiB each: heap %.1f, stacks %.1f; %d goroutines; resident %d MiB in all", n,
		float64(after.heap+after.stack-before.heap-before.stack)/float64(n)/1024,
		float64(after.heap-before.heap)/float64(n)/1024, float64(after.stack-before.stack)/float64(n)/1024,
		runtime.NumGoroutine(), resident()>>20)
	if p := os.Getenv("IDLE_PROFILE"); p != "" {
		w, err := os.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		pprof.Lookup("heap").WriteTo(w, 0)
	}
	if per := (after.heap + after.stack - before.heap - before.stack) / int64(n); per > 24<<10 {
		t.Errorf("an idle connection costs %d bytes", per)
	}
}

type memory struct{ heap, stack int64 }

// inUse is what is in use once stacks have shrunk.
func inUse() memory {
	var m runtime.MemStats
	for range 5 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	runtime.ReadMemStats(&m)
	return memory{int64(m.HeapAlloc), int64(m.StackInuse)}
}

func resident() int64 {
	b, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// idleClients starts n clients in another process and waits until all are idle.
func idleClients(t *testing.T, f *fixture, n int) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestIdleClients$")
	cmd.Env = append(os.Environ(), "IDLE_SERVER="+f.addr, "IDLE_NUMBER="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewScanner(out)
	for r.Scan() && r.Text() != "idle" {
		t.Log(r.Text())
	}
	return func() {
		in.Close()
		for r.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the clients: %v", err)
		}
	}
}

// TestIdleClients is the process of the clients.
func TestIdleClients(t *testing.T) {
	addr, n := os.Getenv("IDLE_SERVER"), 0
	if n, _ = strconv.Atoi(os.Getenv("IDLE_NUMBER")); addr == "" || n == 0 {
		t.Skip("runs for TestIdleMemory")
	}
	var all []*client
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := &client{t, nc, bufio.NewReaderSize(nc, 16)}
		tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		c.nc, c.r = tc, bufio.NewReaderSize(tc, 256)
		c.line()
		c.script("C: a LOGIN alice secret\nS* a OK")
		if os.Getenv("IDLE_COMPRESS") != "" {
			c.script("C: z COMPRESS DEFLATE\nS* z OK")
			c.compressing()
		}
		c.script("C: b SELECT INBOX\nS* b OK\nC: c UID FETCH 1:* (FLAGS)\nS* c OK\nC: d IDLE\nS* + idling")
		all = append(all, c)
	}
	fmt.Println("idle")
	bufio.NewReader(os.Stdin).ReadString('\n')
	runtime.KeepAlive(all)
}
