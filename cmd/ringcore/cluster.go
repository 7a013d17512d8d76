package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "Look at the cluster's members and change them",
		a.clusterStatus(), a.clusterMembers(), a.clusterJoin(), a.clusterLeave(),
		a.change("down NODE", "Mark a member as down", "/v1/cluster/down", "node"),
		a.change("force-remove NODE", "Remove a member without handing off", "/v1/cluster/force-remove", "node"),
		a.change("replace OLD NEW", "Hand everything of one member to another", "/v1/cluster/replace", "old", "new"),
		a.change("force-replace OLD NEW", "Replace a member that is lost", "/v1/cluster/force-replace", "old", "new"),
		a.clusterSet(), a.clusterPlan(), a.clusterCommit(), a.clusterClear(),
	)
}

func (a *app) clusterJoin() *cobra.Command {
	req := admin.JoinRequest{}
	cmd := &cobra.Command{
		Use:     "join ADDR",
		Short:   "Make the node at --endpoint a member of the cluster that ADDR belongs to",
		Example: "  ringcore cluster join 127.0.0.1:7400 --commit --endpoint http://127.0.0.1:7412",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Seed = args[0]
			return hintCommit(a.post(cmd.Context(), "/v1/cluster/join", req, "joined the cluster of "+args[0]), req.Commit)
		},
	}
	cmd.Flags().BoolVar(&req.Commit, "commit", false, "at once, without a plan")
	cmd.Flags().BoolVar(&req.Discard, "discard", false, "join even if this node holds data, and lose it")
	return cmd
}

func (a *app) clusterLeave() *cobra.Command {
	req := admin.LeaveRequest{}
	cmd := &cobra.Command{
		Use:   "leave NODE",
		Short: "Let a member hand off what it owns, and go",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Node = args[0]
			return hintCommit(a.post(cmd.Context(), "/v1/cluster/leave", req, args[0]+" is leaving; ringcore transfers shows how it goes"), req.Commit)
		},
	}
	cmd.Flags().BoolVar(&req.Commit, "commit", false, "at once, without a plan")
	return cmd
}

// hintCommit says what to do if staging is what was not supported.
func hintCommit(err error, commit bool) error {
	if f, ok := errors.AsType[*failure](err); ok && !commit && isProblem(err, wire.NotSupported) {
		f.hint = "pass --commit to make the change at once"
	}
	return err
}

// change is a command whose arguments are the fields of a JSON document.
func (a *app) change(use, short, path string, fields ...string) *cobra.Command {
	var commit bool
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(len(fields)),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"commit": commit}
			for i, name := range fields {
				body[name] = args[i]
			}
			return a.post(cmd.Context(), path, body, "done")
		},
	}
	cmd.Flags().BoolVar(&commit, "commit", false, "at once, without a plan")
	return cmd
}

func (a *app) clusterSet() *cobra.Command {
	var commit bool
	set := func(use, short string, body func(args []string) (map[string]any, error)) *cobra.Command {
		cmd := &cobra.Command{Use: use, Short: short}
		cmd.Args = cobra.ExactArgs(strings.Count(use, " "))
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			doc, err := body(args)
			if err != nil {
				return err
			}
			doc["commit"] = commit
			return a.post(cmd.Context(), "/v1/cluster/set", doc, "done")
		}
		return cmd
	}
	g := group("set", "Change the cluster's settings",
		set("replicas N", "How many replicas each partition has", func(args []string) (map[string]any, error) {
			n, err := number("replicas", args[0])
			return map[string]any{"replicas": n}, err
		}),
		set("weight NODE W", "A member's share of the ring, against 1 of the others", func(args []string) (map[string]any, error) {
			w, err := number("weight", args[1])
			return map[string]any{"node": args[0], "weight": w}, err
		}),
		set("zone NODE ZONE", "The zone that a member stands in", func(args []string) (map[string]any, error) {
			return map[string]any{"node": args[0], "zone": args[1]}, nil
		}),
	)
	g.PersistentFlags().BoolVar(&commit, "commit", false, "at once, without a plan")
	return g
}

func number(what, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, usagef("", "%s is %q, and no number", what, s)
	}
	return n, nil
}

func (a *app) clusterPlan() *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what the staged changes would do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			var plan any
			if err := api.get(cmd.Context(), "/v1/cluster/plan", nil, &plan); err != nil {
				return err
			}
			return a.printJSON(plan)
		},
	}
}

func (a *app) clusterCommit() *cobra.Command {
	var plan string
	var wait bool
	cmd := &cobra.Command{
		Use:   "commit",
		Short: "Commit the plan",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.post(cmd.Context(), "/v1/cluster/commit", map[string]any{"plan": plan}, "committed"); err != nil || !wait {
				return err
			}
			return a.waitForTransfers(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&plan, "plan", "", "hash of the plan that was read")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all transfers are done")
	return cmd
}

func (a *app) clusterClear() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Forget the staged changes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			if _, _, err := api.do(cmd.Context(), request{method: "DELETE", path: "/v1/cluster/plan"}); err != nil {
				return err
			}
			return a.done("cleared", map[string]bool{"cleared": true})
		},
	}
}

// post sends a change and prints said when it is done.
func (a *app) post(ctx context.Context, path string, body any, said string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	if err := api.post(ctx, path, body, nil); err != nil {
		return err
	}
	return a.done(said, map[string]bool{"committed": true})
}

// waitForTransfers returns when nothing is on the move any more.
func (a *app) waitForTransfers(ctx context.Context) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var view admin.TransfersView
		if err := api.get(ctx, "/v1/transfers", nil, &view); err != nil {
			return err
		}
		if len(view.Active)+view.Waiting == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) clusterMembers() *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the members and their shares of the ring",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			members := []admin.MemberView{}
			if err := api.get(cmd.Context(), "/v1/members", nil, &members); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(members)
			}
			return printTable(a.out, memberHeader, memberRows(members))
		},
	}
}

// statusText is a member's status, and whether it is about to stop.
func statusText(m *admin.MemberView) string {
	if m.Draining {
		return m.Status + ",draining"
	}
	return m.Status
}

const memberHeader = "NAME ID STATUS UP ADDR HTTP RESP ZONE WEIGHT OWNED SLOTS PENDING RAFT"

func memberRows(members []admin.MemberView) [][]string {
	var rows [][]string
	for _, m := range members {
		role := "-"
		switch {
		case m.Leader:
			role = "leader"
		case m.Voter:
			role = "voter"
		}
		rows = append(rows, []string{
			m.Name, m.ID, statusText(&m), mark(m.Up), m.Addr, dash(m.HTTP), dash(m.RESP), dash(m.Zone), strconv.Itoa(m.Weight),
			strconv.Itoa(m.Owned), strconv.Itoa(m.Slots), fmt.Sprintf("%d/%d", m.PendingOwned, m.PendingSlots), role,
		})
	}
	return rows
}
