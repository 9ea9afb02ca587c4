package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

// A userCheck is what was found of one user.
type userCheck struct {
	User string `json:"user"`
	admin.CheckResult
}

func (t *tool) cryptokeyCheck() *cobra.Command {
	var open bool
	var rows int
	c := &cobra.Command{
		Use:   "check {-u USER|-A|-F FILE} [FOLDER...]",
		Short: "look whether every key is there that mail needs",
		Long: `Read the header of every message, of all folders or those named, and look whether the keys are there
that messages need, and that new mail will need. Nothing is changed. With --open, or where a password or
key is given by an option, the keys must open too.

The exit status is 0 where all is well, and 65 where keys are missing, damaged or locked, or messages
cannot be read. With -A the last line sums up.`,
		Example: `  doveadm-crypt cryptokey check -u alice
  doveadm-crypt cryptokey check -u alice --open INBOX
  doveadm-crypt cryptokey check -A --format json`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	u := t.someUsers(c)
	k := t.keySecrets(c)
	c.Flags().BoolVar(&open, "open", false, "ask for a password, by which every key must open")
	c.Flags().IntVar(&rows, "rows", 100, "list at most `N` messages that cannot be read")
	c.RunE = func(cmd *cobra.Command, folders []string) error {
		defer k.clear()
		if err := k.options(cmd.Context()); err != nil {
			return err
		}
		if open && len(k.got) == 0 {
			if err := k.ask(cmd.Context()); err != nil {
				return err
			}
		}
		all := []userCheck{}
		err := u.each(cmd.Context(), func(s admin.Service, user string) error {
			ctx, done := t.progress(cmd.Context())
			result, err := s.Check(ctx, admin.CheckRequest{User: user, Secrets: k.got, Folders: folders, Rows: rows})
			done()
			if err == nil || errors.Is(err, admin.ErrUnhealthy) {
				all = append(all, userCheck{user, result})
			}
			return err
		})
		return errors.Join(t.showChecks(all), err)
	}
	return c
}

func (t *tool) showChecks(all []userCheck) error {
	tb := table{columns: []column{{title: "User"}, {title: "Folder"}, {title: "Key"}, {title: "Active"}, {title: "Messages"}, {title: "Condition"}, {title: "Remarks"}}}
	for _, c := range all {
		for _, k := range c.Keys {
			tb.add(c.User, place(k.KeyRef), k.ID, yesNo(k.Active), strconv.FormatInt(k.Messages, 10), k.Condition, plainText(k.Error))
		}
	}
	if err := t.show(tb, all); err != nil || t.format != "" && t.format != "table" {
		return err
	}
	unwell := 0
	for _, c := range all {
		for _, m := range c.Missing {
			fmt.Fprintf(t.stdout, "%s: %s UID %d cannot be read: %s\n", clean(c.User), clean(m.Folder), m.UID, plainText(m.Error))
		}
		if c.MoreMissing > 0 {
			fmt.Fprintf(t.stdout, "%s: and %d messages more\n", clean(c.User), c.MoreMissing)
		}
		for _, w := range c.Warnings {
			fmt.Fprintf(t.stderr, "%s: warning: %s\n", clean(c.User), clean(w))
		}
		verdict := "all keys are there"
		if !c.Healthy {
			verdict = "KEYS ARE MISSING"
			unwell++
		}
		fmt.Fprintf(t.stdout, "%s: %s: %s\n", clean(c.User), verdict, scanText(c.Scan))
	}
	if len(all) > 1 {
		fmt.Fprintf(t.stdout, "%d users looked at, %d of them not well\n", len(all), unwell)
	}
	return nil
}

func scanText(s admin.Scan) string {
	return fmt.Sprintf("%d messages in %d folders, %d encrypted, %d in the clear, %d unreadable", s.Messages, s.Folders, s.Encrypted, s.Clear, s.Unreadable)
}
