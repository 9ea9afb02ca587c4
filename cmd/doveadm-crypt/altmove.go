package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcrypt/admin"
)

func (t *tool) altmove() *cobra.Command {
	var r admin.AltMoveRequest
	var saved, received string
	c := &cobra.Command{
		Use:   "altmove {-u USER|-A|-F FILE} [MASK...]",
		Short: "move old mail in mdbox to other disks",
		Long: `Move messages of an mdbox store into its alternative directory, the ALT= of mail_location, or with -r
back out of it: those in the folders that the MASKs mean, with the wildcards * and %, that meet all
conditions. A message that is in several folders moves if it meets them in one. The files that they were in
are rewritten, and what is expunged in them is purged. Mail is read and delivered meanwhile.`,
		Example: `  doveadm-crypt altmove -u dora --saved-before 90d --unflagged
  doveadm-crypt altmove -u dora -r '*'`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	u := t.someUsers(c)
	f := c.Flags()
	f.BoolVarP(&r.Back, "reverse", "r", false, "move back out of the alternative directory")
	f.StringVar(&saved, "saved-before", "", "saved in their folder before a `TIME`: a date such as 2026-01-31, or an age such as 30d, 2w or 12h")
	f.StringVar(&received, "received-before", "", "received before a `TIME`")
	f.BoolVar(&r.Seen, "seen", false, "that were read")
	f.BoolVar(&r.Unflagged, "unflagged", false, "that are not flagged")
	c.RunE = func(cmd *cobra.Command, masks []string) (err error) {
		r.Folders = masks
		if r.SavedBefore, err = before(saved); err != nil {
			return err
		}
		if r.ReceivedBefore, err = before(received); err != nil {
			return err
		}
		return t.moved(cmd, u, func(s admin.Service, user string) (admin.MoveResult, error) {
			of := r
			of.User = user
			return s.AltMove(cmd.Context(), of)
		})
	}
	return c
}

// before reads a date or an age.
func before(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	units := map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	digits := strings.TrimRight(text, "hdw")
	n, err := strconv.ParseUint(digits, 10, 16)
	unit, ok := units[text[len(digits):]]
	if err != nil || !ok {
		return time.Time{}, usage("%q is neither a date such as 2026-01-31 nor an age such as 30d, 2w or 12h", text)
	}
	return time.Now().Add(-time.Duration(n) * unit), nil
}
