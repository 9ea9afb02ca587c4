package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) dict() *cobra.Command {
	c := &cobra.Command{
		Use:   "dict",
		Short: "manage the dictionaries that keys are kept in",
		Long: `Manage dictionaries of mailbox attributes, in which keys and annotations are kept: Dovecot's files
(file:PATH) and our own (bolt:PATH), as mail_attribute_dict names them. "dump" lists what is in one.`,
		Example: "  doveadm-crypt dict --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.dictCopy())
	return c
}

// completeURI offers the drivers to the shell.
func completeURI(_ *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	var found []string
	for _, driver := range []string{"file:", "bolt:"} {
		if len(args) < 2 && strings.HasPrefix(driver, start) {
			found = append(found, driver)
		}
	}
	return found, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
