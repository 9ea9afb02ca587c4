//go:build !linux || !amd64

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "killat: needs Linux on amd64")
	os.Exit(125)
}
