package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/filecrypt"
)

func (t *tool) decrypt() *cobra.Command {
	var output string
	o := filecrypt.DecryptOptions{}
	var packed bool
	c := &cobra.Command{
		Use:   "decrypt {--key-file FILE|--key-fd N} [FILE]",
		Short: "decrypt one stored message by hand",
		Long: `Decrypt the stored message FILE, or standard input, with a private key, without a server or a user:
to standard output, or to the new file that --output names. Keys are Dovecot's key texts, PEM, JSON web
keys, or what "cryptokey export" writes; one that a password seals asks for it, and one that is sealed to
another key is opened by that where both are given.

Nothing comes out before the whole message has been found to be as it was written, and nothing is
written to any file but that of --output. Compression is taken off.`,
		Example: `  doveadm-crypt decrypt --key-file alice.pem message
  doveadm-crypt cryptokey export -u alice --clear --password-file pw --bare | doveadm-crypt decrypt --key-file - --output plain message`,
		Args: cobra.MaximumNArgs(1),
	}
	k := t.fileKeys(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !k.wanted() {
			return usage("say which key, by --key-file FILE; \"cryptokey export\" gives out a user's")
		}
		in, _, done, err := t.input(args)
		if err != nil {
			return err
		}
		defer done()
		list, err := k.open(cmd.Context(), in == t.stdin)
		if err != nil {
			return err
		}
		defer destroy(list)
		o.Keys, o.Decompress = list, !packed
		var d filecrypt.Decrypted
		err = t.output(output, false, func(w io.Writer) (err error) {
			m := t.meter()
			defer m.done()
			d, err = filecrypt.Decrypt(m.twice(cmd.Context(), in, "decrypting"), w, o)
			return err
		})
		if err != nil {
			return err
		}
		if !d.Verified {
			fmt.Fprintln(t.stderr, "warning: this message has nothing that shows changes: it may have been altered")
		}
		if output == "" {
			return nil
		}
		return t.showDecrypted(output, d)
	}
	f := c.Flags()
	f.StringVar(&output, "output", "", "write to the new `FILE`, which its owner alone can read")
	f.BoolVar(&packed, "keep-compression", false, "leave what is compressed inside as it is")
	f.BoolVar(&o.AllowUnverified, "unverified", false, "decrypt messages, as of stream version 1, of which nothing shows whether they were altered")
	return c
}

// A decryptedFile is what decrypt answers.
type decryptedFile struct {
	File        string `json:"file"`
	Size        int64  `json:"size"`
	Version     int    `json:"version"`
	Cipher      string `json:"cipher"`
	Compression string `json:"compression,omitempty"`
	Verified    bool   `json:"verified"`
}

func (t *tool) showDecrypted(name string, d filecrypt.Decrypted) error {
	tb := table{columns: []column{{title: "File"}, {title: "Size"}, {title: "Cipher"}, {title: "Compression"}, {title: "Verified"}}}
	tb.add(name, strconv.FormatInt(d.Size, 10), d.Header.Cipher, string(d.Compression), yesNo(d.Verified))
	return t.show(tb, decryptedFile{name, d.Size, d.Header.Version, d.Header.Cipher, string(d.Compression), d.Verified})
}

// input is the file that an argument names, or standard input. size is 0 where it is not
// known. Call done.
func (t *tool) input(args []string) (in io.Reader, size int64, done func(), err error) {
	if len(args) == 0 || args[0] == "-" {
		return t.stdin, 0, func() {}, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, 0, nil, usage("%v", err)
	}
	if fi, err := f.Stat(); err == nil {
		if fi.IsDir() {
			return nil, 0, nil, errors.Join(usage("%s is a directory", args[0]), f.Close())
		}
		size = fi.Size()
	}
	return f, size, func() { f.Close() }, nil
}

// output calls write with a new file, or with standard output; bytes that are no text do not
// go to a terminal.
func (t *tool) output(name string, binary bool, write func(io.Writer) error) error {
	if name != "" {
		err := filecrypt.WriteNew(name, write)
		if errors.Is(err, os.ErrExist) || errors.Is(err, os.ErrNotExist) {
			return usage("--output: %v", err)
		}
		return err
	}
	if _, ok := terminal(t.stdout); ok && binary {
		return usage("this is no text for a terminal: give --output FILE")
	}
	return write(t.stdout)
}
