package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

// pong is the answer to GET /v1/ping.
type pong struct {
	Partition int    `json:"partition"`
	Index     string `json:"index"` // of the partition: a 160-bit number in decimal
	Node      string `json:"node"`  // name
	NodeID    string `json:"node_id"`
}

func (a *app) pingCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ping [KEY]",
		Short:   "Ask the vnode of KEY, or of a random key, for a sign of life",
		Example: "  ringcore ping\n  ringcore ping k1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			query := url.Values{"timeout": {api.share()}}
			if len(args) == 1 {
				query.Set("key", args[0])
			}
			var p pong
			if err := api.get(cmd.Context(), "/v1/ping", query, &p); err != nil {
				return err
			}
			return a.done(fmt.Sprintf("pong %s %s", p.Index, p.Node), p)
		},
	}
}
