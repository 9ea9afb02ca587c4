package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// completeUsers offers the names of users to the shell, where the passwd-file can be read.
func (t *tool) completeUsers(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Flags().Lookup("user") == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, p, err := t.passwdFile()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer p.Close()
	var names []string
	for u, err := range p.Users(cmd.Context()) {
		if err == nil && strings.HasPrefix(u.Name, start) {
			names = append(names, u.Name)
		}
		if len(names) == 1000 {
			break
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
