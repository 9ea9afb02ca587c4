package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the command line chooses.
type options struct {
	work       *regexp.Regexp
	list       bool
	short      bool
	pairs      int
	divide     int // of all counts, for a short run
	dir        string
	driver     string
	compress   string
	curve      string
	dropCaches bool
	perf       string
	page       string
}

func parse(args []string, errTo io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errTo)
	work := f.String("work", "", "only works whose names match this regular `expression`")
	f.BoolVar(&o.list, "list", false, "print the names of the works")
	f.BoolVar(&o.short, "short", false, "one pair of small rounds: does everything still run?")
	f.IntVar(&o.pairs, "pairs", 5, "measured rounds of each server")
	f.IntVar(&o.divide, "divide", 1, "divide all numbers of messages and connections by this")
	f.StringVar(&o.dir, "dir", os.TempDir(), "directory on the disk that is measured")
	f.StringVar(&o.driver, "driver", "maildir", "maildir or mdbox, for both servers")
	f.StringVar(&o.compress, "compress", "none", "none, gz or zstd, for both servers")
	f.StringVar(&o.curve, "curve", "secp521r1", "curve of keys, for both servers")
	f.BoolVar(&o.dropCaches, "drop-caches", false, "empty the kernel's page cache before each round")
	f.StringVar(&o.perf, "perf", "", "write a profile of mailcryptd for each work to this `directory`, by perf record")
	f.StringVar(&o.page, "page", "", "write the tables into this Markdown `file`, between its marks, after each work")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.short {
		o.pairs, o.divide = 1, 50
	}
	if o.pairs < 1 || o.divide < 1 || f.NArg() > 0 {
		return o, fmt.Errorf("bench: -pairs and -divide begin at 1, and there are no arguments")
	}
	if _, ok := locations[o.driver]; !ok {
		return o, fmt.Errorf("bench: -driver is maildir or mdbox")
	}
	var err error
	o.work, err = regexp.Compile(*work)
	return o, err
}

func run(args []string, out, errTo io.Writer) int {
	o, err := parse(args, errTo)
	if err != nil {
		fmt.Fprintln(errTo, err)
		return 2
	}
	if o.list {
		for _, w := range (&bench{options: o, log: errTo}).works() {
			fmt.Fprintln(out, w.name)
		}
		return 0
	}
	if why := missing(); why != "" {
		fmt.Fprintln(out, "skipped:", why)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	b, err := newBench(ctx, o, out, errTo)
	if err != nil {
		fmt.Fprintln(errTo, err)
		return 1
	}
	defer b.close()
	failed := b.all()
	if failed > 0 {
		fmt.Fprintf(errTo, "%d works failed\n", failed)
		return 1
	}
	return 0
}
