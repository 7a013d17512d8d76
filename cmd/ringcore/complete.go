package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// completionPatience bounds how long a shell waits for the cluster at a Tab.
const completionPatience = time.Second

// completeMembers lets the shell complete the names of members, wherever the usage of a command
// below cmd says NODE, OLD or NEW.
func completeMembers(a *app, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeMembers(a, c)
	}
	var places []string // the arguments, in order
	for _, word := range strings.Fields(cmd.Use)[1:] {
		places = append(places, strings.Trim(word, "[]"))
	}
	if len(places) == 0 || cmd.ValidArgsFunction != nil {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) || (places[len(args)] != "NODE" && places[len(args)] != "OLD" && places[len(args)] != "NEW") {
			return nil, filesIf(len(args) < len(places) && (places[len(args)] == "FILE" || places[len(args)] == "DIR"))
		}
		return a.memberNames(cmd, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// filesIf is what the shell completes by itself: files, or nothing.
func filesIf(files bool) cobra.ShellCompDirective {
	if files {
		return cobra.ShellCompDirectiveDefault
	}
	return cobra.ShellCompDirectiveNoFileComp
}

// memberNames are the members that are not among args, with what they are; none if the cluster
// does not answer.
func (a *app) memberNames(cmd *cobra.Command, args []string) []string {
	a.timeout = completionPatience
	api, err := a.api()
	if err != nil {
		return nil
	}
	var members []admin.MemberView
	if err := api.get(cmd.Context(), "/v1/members", nil, &members); err != nil {
		return nil
	}
	var names []string
	for _, m := range members {
		if !slices.Contains(args, m.Name) {
			names = append(names, m.Name+"\t"+statusText(&m))
		}
	}
	return names
}
