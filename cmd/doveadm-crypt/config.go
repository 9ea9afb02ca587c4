package main

import "github.com/spf13/cobra"

func (t *tool) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "config",
		Short:   "make a configuration",
		Long:    `Make a configuration for mailcryptd. "mailcryptd check-config" looks one over.`,
		Example: "  doveadm-crypt config --help",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(t.configImport())
	return c
}
