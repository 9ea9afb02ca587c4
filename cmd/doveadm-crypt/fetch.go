package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
	"mailcrypt/filecrypt"
)

// A fetch is the flags of the command.
type fetch struct {
	t            *tool
	r            admin.FetchRequest
	header, body bool
	verify       bool
	fields       string
	output       string
	k            *keySecrets
}

func (t *tool) fetch() *cobra.Command {
	f := &fetch{t: t}
	c := &cobra.Command{
		Use:   "fetch -u USER MAILBOX UID",
		Short: "print one message, decrypted",
		Long: `Print the message of USER that has the UID in MAILBOX: all of it, its --header or its --body, with
line ends as they are stored. It is read through and verified before the first byte is printed, is kept in
no temporary file, and no flag changes. A password is asked for where the message needs one. To a terminal
control characters are printed as ?.

With --fields print what is known of the message instead, as "doveadm fetch" does, by its names, in the
order given:

` + fieldsHelp + `

Sizes that nobody has recorded are found by reading the message; all else needs no password. With --verify
print nothing: the exit status says whether the message can be read to its end.

A running daemon logs each call, with the user who has called. The exit status is 68 where there is no such
mailbox, message or key, and 65 where the message is damaged or the password does not open it. After an
error in the middle, what has been printed is not all.`,
		Example: `  doveadm-crypt fetch -u alice INBOX 1
  doveadm-crypt fetch -u alice INBOX 1 --output alice-1.eml
  doveadm-crypt fetch -u alice INBOX 1 --fields "uid flags guid date.received size.virtual crypt.keys"`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.k = t.keySecrets(c)
	t.userOption(c, &f.r.User)
	p := c.Flags()
	p.BoolVar(&f.header, "header", false, "the header alone, up to the empty line and with it")
	p.BoolVar(&f.body, "body", false, "what comes after the header alone")
	p.StringVar(&f.fields, "fields", "", "print `FIELDS`, with spaces or commas in between, and no text")
	p.BoolVar(&f.verify, "verify", false, "read the message through and print nothing")
	p.BoolVar(&f.r.CRLF, "crlf", false, "end every line by CRLF, as IMAP does")
	p.StringVar(&f.output, "output", "", "write to the new `FILE`, which its owner alone can read")
	c.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) }
	return c
}

// check finds flags that do not go together.
func (f *fetch) check() error {
	asked := 0
	for _, given := range []bool{f.header, f.body, f.fields != "", f.verify} {
		if given {
			asked++
		}
	}
	switch {
	case asked > 1:
		return usage("give one of --header, --body, --fields and --verify, or none")
	case (f.fields != "" || f.verify) && (f.output != "" || f.r.CRLF):
		return usage("--output and --crlf are for the text, of which --fields and --verify print none")
	}
	return nil
}

func (f *fetch) run(ctx context.Context, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	uid, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil || uid == 0 {
		return usage("%q is no UID: a number from 1 to 4294967295", clean(args[1]))
	}
	f.r.Mailbox, f.r.UID = args[0], uint32(uid)
	fields, err := parseFields(f.fields)
	if err != nil {
		return err
	}
	return f.t.forUser(ctx, f.r.User, f.k, func(s admin.Service) error { return f.show(ctx, s, fields) })
}

// show does what the flags ask for.
func (f *fetch) show(ctx context.Context, s admin.Service, fields []field) error {
	switch {
	case len(fields) > 0:
		return f.showFields(ctx, s, fields)
	case f.verify:
		_, err := f.call(ctx, s, admin.PartVerify, io.Discard)
		return err
	case f.header:
		return f.print(ctx, s, admin.PartHeader)
	case f.body:
		return f.print(ctx, s, admin.PartBody)
	}
	return f.print(ctx, s, admin.PartText)
}

// print writes a part to the file or the terminal or whatever standard output is.
func (f *fetch) print(ctx context.Context, s admin.Service, part string) error {
	write := func(w io.Writer) error {
		_, err := f.call(ctx, s, part, w)
		return err
	}
	if f.output != "" {
		return filecrypt.WriteNew(f.output, write)
	}
	if _, ok := terminal(f.t.stdout); ok {
		w := &cleanWriter{w: f.t.stdout}
		return errors.Join(write(w), w.end())
	}
	return write(f.t.stdout)
}

// call calls Fetch, asking for a password where the message needs one.
func (f *fetch) call(ctx context.Context, s admin.Service, part string, w io.Writer) (result admin.FetchResult, err error) {
	done := func() {}
	if _, ok := terminal(f.t.stdout); !ok || f.output != "" {
		ctx, done = f.t.progress(ctx)
	}
	defer done()
	r := f.r
	r.Part = part
	err = f.k.with(ctx, func(secrets []admin.Password) error {
		r.Secrets = secrets
		result, err = s.Fetch(ctx, r, w)
		done()
		return err
	})
	return result, err
}

// showFields prints fields, in Dovecot's form. Only sizes that nobody has recorded ask for the
// message to be opened.
func (f *fetch) showFields(ctx context.Context, s admin.Service, fields []field) error {
	result, err := f.call(ctx, s, admin.PartNone, io.Discard)
	if err != nil {
		return err
	}
	for _, fd := range fields {
		if fd.counted != nil && fd.counted(result) {
			if result, err = f.call(ctx, s, admin.PartVerify, io.Discard); err != nil {
				return err
			}
			break
		}
	}
	var tb table
	var row []string
	for _, fd := range fields {
		tb.columns = append(tb.columns, column{name: fd.name, title: fd.name})
		row = append(row, fd.text(result))
	}
	tb.add(row...)
	if result.Problem != "" {
		fmt.Fprintf(f.t.stderr, "doveadm-crypt: warning: %s\n", clean(result.Problem))
	}
	return f.t.showAs(tb, f.t.dovecotFormat("pager"))
}
