package main

import "github.com/spf13/cobra"

func (a *app) nodeCommand() *cobra.Command {
	return group("node", "Prepare a node for a stop",
		a.nodeChange("drain", "Hand leadership and coordination over; the data stays"),
		a.nodeChange("resume", "Take part again after a drain"),
	)
}

// nodeChange asks the node at --endpoint about NODE, or about itself.
func (a *app) nodeChange(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " [NODE]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if len(args) == 1 {
				body["node"] = args[0]
			}
			return a.post(cmd.Context(), "/v1/node/"+verb, body, "done")
		},
	}
}
