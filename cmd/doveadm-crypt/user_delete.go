package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) userDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "delete USER",
		Short: "remove a user from the passwd-file",
		Long: `Remove USER from the passwd-file. Mail and keys stay where they are, and who adds the user again has
them back; remove the home to destroy them. Sessions that are open go on until they end.
At a terminal it asks first.`,
		Example:           `  doveadm-crypt user delete bob --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, p, err := t.passwdFile()
			if err != nil {
				return err
			}
			defer p.Close()
			u, err := p.Lookup(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := t.confirm(fmt.Sprintf("Remove user %s", u.Name)); err != nil {
					return err
				}
			}
			if err := p.Delete(cmd.Context(), u.Name); err != nil {
				return fmt.Errorf("user %s: %w", u.Name, err)
			}
			fmt.Fprintf(t.stdout, "Removed %s; the mail stays\n", clean(u.Name))
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// confirm asks at the terminal whether to go on; without a terminal it refuses.
func (t *tool) confirm(what string) error {
	if _, ok := terminal(t.stdin); !ok {
		return usage("give --yes, for there is no terminal to ask at")
	}
	fmt.Fprintf(t.stderr, "%s? [y/N] ", clean(what))
	answer, _ := bufio.NewReader(t.stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return usage("nothing was done")
	}
	return nil
}
