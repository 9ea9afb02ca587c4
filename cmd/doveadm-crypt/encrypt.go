package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/compress"
	"mailcrypt/filecrypt"
)

func (t *tool) encrypt() *cobra.Command {
	var output, to, method string
	var level int
	var o filecrypt.EncryptOptions
	c := &cobra.Command{
		Use:   "encrypt --to FILE [FILE]",
		Short: "encrypt one message by hand",
		Long: `Encrypt FILE, or standard input, to the key in the file of --to, as mail is stored: to standard
output, or to the new file that --output names. The key is a public one, or a private one that needs no
password: Dovecot's key text, PEM or a JSON web key; "dump" tells of a file which key it holds.

The octets are encrypted as they are. A file for a Maildir needs the sizes in its name, which --output
prints: ",S=" with the size and ",W=" with the virtual size.`,
		Example: `  doveadm-crypt encrypt --to alice.pem mail >stored
  doveadm-crypt encrypt --to alice.pem --compress gz --output stored.gz mail`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usage("say for which key, by --to FILE")
			}
			text, err := readKeyFile(to)
			if err != nil {
				return err
			}
			defer clear(text)
			pub, err := filecrypt.PublicKey(text)
			if err != nil {
				return fmt.Errorf("%w: %s is no key that can be encrypted to: %w", admin.ErrUsage, to, err)
			}
			if o.Compression, err = compress.ParseMethod(method); err != nil {
				return fmt.Errorf("%w: %w", admin.ErrUsage, err)
			}
			if cmd.Flags().Changed("level") {
				if o.Level, err = compress.NewLevel(o.Compression, level); err != nil {
					return fmt.Errorf("%w: %w", admin.ErrUsage, err)
				}
			}
			in, size, done, err := t.input(args)
			if err != nil {
				return err
			}
			defer done()
			var e filecrypt.Encrypted
			err = t.output(output, true, func(w io.Writer) (err error) {
				m := t.meter()
				defer m.done()
				e, err = filecrypt.Encrypt(m.reader(cmd.Context(), in, "encrypting", size), w, pub, o)
				return err
			})
			if err != nil || output == "" {
				return err
			}
			tb := table{columns: []column{{title: "File"}, {title: "Key"}, {title: "Size"}, {title: "Virtual"}, {title: "Stored"}}}
			tb.add(output, pub.ID().String(), strconv.FormatInt(e.Physical, 10), strconv.FormatInt(e.Virtual, 10), strconv.FormatInt(e.Stored, 10))
			return t.show(tb, encryptedFile{output, pub.ID().String(), e.Physical, e.Virtual, e.Stored})
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "encrypt to the key in `FILE`")
	f.StringVar(&output, "output", "", "write to the new `FILE`, which its owner alone can read")
	f.StringVar(&method, "compress", "", "compress by `METHOD` before: gz, bz2, zstd, lz4")
	f.IntVar(&level, "level", 0, "of the compression")
	f.IntVar(&o.Stream.Version, "stream-version", 2, "2, or 1, which nothing guards against changes and which is for old versions of Dovecot")
	f.StringVar(&o.Stream.Cipher, "cipher", "", "such as aes-256-gcm, which is the default, or chacha20-poly1305")
	return c
}

// An encryptedFile is what encrypt answers.
type encryptedFile struct {
	File     string `json:"file"`
	Key      string `json:"key"`
	Physical int64  `json:"physical"`
	Virtual  int64  `json:"virtual"`
	Stored   int64  `json:"stored"`
}
