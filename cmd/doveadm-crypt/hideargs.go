package main

import (
	"slices"
	"strings"
	"unsafe"
)

// secretFlags are the options whose value is a secret, as Dovecot has them: by name, and by
// letter.
var secretFlags = struct {
	names   []string
	letters string
}{[]string{"--option", "--old-password", "--new-password", "--plaintext"}, "onp"}

// hideArguments returns a copy of the arguments, and writes over the secrets in those that the
// process was started with, which ps shows to every user. It makes no difference what an
// option means to a command: what is hidden too much is hidden from ps alone. args must be
// part of os.Args, whose strings are the memory that the kernel shows.
func hideArguments(args []string) []string {
	kept := make([]string, len(args))
	for i, a := range args {
		kept[i] = strings.Clone(a)
	}
	for i := 0; i < len(args); i++ {
		from, next := secretIn(kept[i])
		overwrite(args[i][from:])
		if next && i+1 < len(args) {
			i++
			overwrite(args[i])
		}
	}
	return kept
}

// secretIn says where in an argument a secret begins, or that the next one is it.
func secretIn(arg string) (from int, next bool) {
	if strings.HasPrefix(arg, "--") {
		name, _, here := strings.Cut(arg, "=")
		switch secret := slices.Contains(secretFlags.names, name); {
		case secret && here:
			return len(name) + 1, false
		default:
			return len(arg), secret
		}
	}
	if strings.HasPrefix(arg, "-") {
		if i := strings.IndexAny(arg, secretFlags.letters); i >= 0 {
			return i + 1, i+1 == len(arg)
		}
	}
	return len(arg), false
}

// overwrite changes a string, which the language does not know: it must be memory that can be
// written, and of which no other string is a part that anybody still reads.
func overwrite(s string) {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for i := range b {
		b[i] = '*'
	}
}
