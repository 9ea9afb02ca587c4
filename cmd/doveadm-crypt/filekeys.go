package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/dcrypt"
	"mailcrypt/filecrypt"
)

// fileKeys are the options of commands that open files with private keys, without a user.
type fileKeys struct {
	*secretOption // of keys that a password seals
	names         []string
	fds           []int
}

func (t *tool) fileKeys(c *cobra.Command) *fileKeys {
	k := &fileKeys{secretOption: t.secretOption(c, "password", "the password of a private key", "Password of the key")}
	c.Flags().StringArrayVar(&k.names, "key-file", nil, "open with the private keys in `FILE`, as \"cryptokey export\" writes them; \"-\" is standard input")
	c.Flags().IntSliceVar(&k.fds, "key-fd", nil, "open with the private keys in file descriptor `N`")
	return k
}

// wanted reports whether keys are given.
func (k *fileKeys) wanted() bool { return len(k.names)+len(k.fds) > 0 }

// open reads the keys, which the caller destroys by destroy. stdin says that standard input
// is something else.
func (k *fileKeys) open(ctx context.Context, stdin bool) (dcrypt.KeyList, error) {
	var texts [][]byte
	defer func() {
		for _, text := range texts {
			clear(text)
		}
	}()
	for _, name := range k.names {
		text, err := k.read(name, stdin)
		if err != nil {
			return nil, err
		}
		defer clear(text)
		stdin = stdin || name == "-"
		texts = append(texts, privateTexts(text)...)
	}
	for _, fd := range k.fds {
		text, err := readKeysFD(fd)
		if err != nil {
			return nil, err
		}
		defer clear(text)
		texts = append(texts, privateTexts(text)...)
	}
	var password []byte
	defer func() { clear(password) }()
	list, err := filecrypt.PrivateKeys(texts, func() (_ []byte, err error) {
		_, typed := terminal(k.t.stdin)
		if stdin && !typed && (!k.given() || k.file == "-") {
			return nil, usage("standard input is taken: give the key's password by --password-file FILE or --password-fd N")
		}
		password, err = k.get(ctx, false)
		return password, err
	})
	switch {
	case err != nil && len(list) == 0:
		return nil, err
	case err != nil:
		fmt.Fprintf(k.t.stderr, "warning: some keys stay shut: %s\n", plainText(err.Error()))
	case len(list) == 0:
		return nil, usage("no private key is in what was given")
	}
	return list, nil
}

func destroy(list dcrypt.KeyList) {
	for _, key := range list {
		key.Destroy()
	}
}

func (k *fileKeys) read(name string, stdin bool) ([]byte, error) {
	if name != "-" {
		return readBounded(name)
	}
	if stdin {
		return nil, usage("standard input cannot be two things: give one of them by the name of a file")
	}
	return readAllBounded(k.t.stdin, "standard input")
}

func readKeysFD(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
	if fd < 3 || f == nil {
		return nil, usage("keys come from a file descriptor of 3 or more; standard input is --key-file -")
	}
	defer f.Close()
	return readAllBounded(f, f.Name())
}

// readBounded reads a file that a person names: one that is not there is wrong use.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("%v", err)
	}
	defer f.Close()
	return readAllBounded(f, name)
}

func readAllBounded(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxImport+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case len(text) > maxImport:
		return nil, usage("%s is too large for a file of keys", name)
	}
	return text, nil
}

// privateTexts takes the keys out of a file: of what "cryptokey export" writes, or keys
// one after the other.
func privateTexts(text []byte) [][]byte {
	var r admin.ExportResult
	if json.Unmarshal(text, &r) != nil || len(r.Keys) == 0 {
		return filecrypt.Split(text)
	}
	var texts [][]byte
	for _, k := range r.Keys {
		if len(k.Private) > 0 {
			texts = append(texts, k.Private)
		}
	}
	return texts
}
