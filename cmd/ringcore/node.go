package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

func (a *app) nodeCommand() *cobra.Command {
	return group("node", "Prepare a node for a stop",
		a.nodeChange("drain", "Hand leadership and coordination over; the data stays", "is draining: it is not ready, and may be stopped"),
		a.nodeChange("resume", "Take part again after a drain", "takes part again"),
	)
}

// nodeChange asks NODE itself, or the node at --endpoint if none is named.
func (a *app) nodeChange(verb, short, said string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " [NODE]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, who := admin.DrainRequest{}, "the node"
			if len(args) == 1 {
				who = args[0]
				name, endpoint, err := a.httpOf(cmd.Context(), who)
				if err != nil {
					return err
				}
				req.Node, a.endpoint = name, endpoint
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			if err := api.post(cmd.Context(), "/v1/node/"+verb, req, nil); err != nil {
				return err
			}
			return a.done(who+" "+said, map[string]bool{"draining": verb == "drain"})
		},
	}
}

// httpOf is where the member of that name or id answers HTTP.
func (a *app) httpOf(ctx context.Context, node string) (name, endpoint string, err error) {
	api, err := a.api()
	if err != nil {
		return "", "", err
	}
	members := []admin.MemberView{}
	if err := api.get(ctx, "/v1/members", nil, &members); err != nil {
		return "", "", err
	}
	for _, m := range members {
		switch {
		case m.Name != node && m.ID != node:
		case m.HTTP == "":
			return "", "", &failure{code: exitRefused, err: fmt.Errorf("%s has no HTTP address: it cannot be asked", m.Name)}
		default:
			return m.Name, "http://" + m.HTTP, nil
		}
	}
	return "", "", &failure{code: exitFailed, err: fmt.Errorf("no member is called %s", node), hint: "ringcore cluster members shows who there is"}
}
