package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/inspect"
)

func (t *tool) dump() *cobra.Command {
	c := &cobra.Command{
		Use:   "dump FILE...",
		Short: "say what a file of a mail store is, without a key",
		Long: `Say what each FILE is and what it says of itself: encrypted messages with their ciphers and the keys
they are for, key texts with their ids and seals, dictionaries of keys (Dovecot's files and bolt),
dovecot-uidlist, and the files and catalogs of mdbox. No key is needed, and values, keys and text are not shown.
Nothing of it is proven: it is what the file says.

With private keys, given by an option, messages are opened too, to say their sizes and how they are
compressed.

The exit status is 65 where something is wrong with a file.`,
		Example: `  doveadm-crypt dump message
  doveadm-crypt dump homes/alice/keys.db message --format json
  doveadm-crypt dump --key-file alice.pem message`,
		Args: cobra.MinimumNArgs(1),
	}
	k := t.fileKeys(c)
	c.RunE = func(cmd *cobra.Command, files []string) error {
		var o inspect.Options
		if k.wanted() {
			list, err := k.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer destroy(list)
			o.Keys = list
		}
		all, err := t.inspect(cmd.Context(), files, o)
		if serr := t.showDump(all); serr != nil {
			return errors.Join(serr, err)
		}
		return err
	}
	return c
}

// inspect looks at files; one that cannot be opened does not keep the others from it.
func (t *tool) inspect(ctx context.Context, files []string, o inspect.Options) ([]*inspect.Info, error) {
	m := t.meter()
	defer m.done()
	all := []*inspect.Info{}
	bad := 0
	for i, name := range files {
		m.show(admin.Progress{What: "looking at", Place: name, Done: int64(i), Total: int64(len(files))})
		info, err := inspect.File(ctx, name, o)
		if ctx.Err() != nil {
			return all, fmt.Errorf("%w: %w", admin.ErrCanceled, ctx.Err())
		}
		if err != nil {
			info = &inspect.Info{Path: name, Error: strings.TrimPrefix(err.Error(), "inspect: ")}
		}
		if info.Damaged() {
			bad++
		}
		all = append(all, info)
	}
	if bad > 0 {
		return all, fmt.Errorf("%w: %d of %d files", errDamagedFile, bad, len(files))
	}
	return all, nil
}

func (t *tool) showDump(all []*inspect.Info) error {
	if t.format == "" || t.format == "table" {
		for _, info := range all {
			if err := info.WriteText(t.stdout); err != nil {
				return err
			}
		}
		return nil
	}
	tb := table{columns: []column{{title: "File"}, {title: "Kind"}, {title: "At"}, {title: "Size"}, {title: "Algorithms"}, {title: "Keys"}, {title: "Remarks"}}}
	for _, info := range all {
		tb.dump(info)
	}
	return t.show(tb, all)
}

// dump adds a row for the file, and one for each thing in it.
func (tb *table) dump(info *inspect.Info) {
	algorithms, keys, remarks := of(info.Stream, info.Key)
	tb.add(info.Path, string(info.Kind), "", strconv.FormatInt(info.Size, 10), join(algorithms, string(info.Compression)), keys, join(info.Error, remarks))
	if info.Dict != nil {
		for _, a := range info.Dict.Attributes {
			algorithms, keys, _ := of(nil, a.Key)
			tb.add(info.Path, a.Kind, a.Name, strconv.Itoa(a.Size), algorithms, keys, a.Error)
		}
	}
	if info.Mdbox != nil {
		for _, r := range info.Mdbox.Messages {
			algorithms, keys, remarks := of(r.Stream, nil)
			kind := inspect.Plain
			if r.Stream != nil {
				kind = inspect.Message
			}
			tb.add(info.Path, string(kind), strconv.FormatInt(r.Offset, 10), strconv.FormatInt(r.Size, 10), algorithms, keys, remarks)
		}
	}
}

// of are the cells about a stream or a key.
func of(s *inspect.StreamInfo, k *inspect.KeyInfo) (algorithms, keys, remarks string) {
	switch {
	case s != nil:
		ids := make([]string, len(s.Recipients))
		for i, r := range s.Recipients {
			ids[i] = r.ID
		}
		return join(s.Cipher, s.Digest), strings.Join(ids, " "), s.Error
	case k != nil:
		sealed := ""
		if k.Protector != "" {
			sealed = "sealed by " + k.Protector
		} else if k.Protection == "password" {
			sealed = "sealed by a password"
		}
		return join(k.Format, k.Curve, sealed), k.ID, ""
	}
	return "", "", ""
}
