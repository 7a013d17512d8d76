package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "Look at the cluster's members and change them",
		a.clusterStatus(), a.clusterMembers(), a.clusterCapabilities(), a.clusterJoin(), a.clusterLeave(),
		a.clusterDown(), a.clusterForceRemove(), a.clusterReplace(), a.clusterForceReplace(),
		a.clusterSet(), a.clusterPlan(), a.clusterCommit(), a.clusterClear(),
	)
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
			return show(cmd.Context(), a, "/v1/members", func(members []admin.MemberView) error {
				return printTable(a.out, memberHeader, memberRows(members))
			})
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
		rows = append(rows, []string{
			m.Name, m.ID, statusText(&m), mark(m.Up), m.Addr, dash(m.HTTP), dash(m.RESP), dash(m.Zone), strconv.Itoa(m.Weight),
			strconv.Itoa(m.Owned), strconv.Itoa(m.Slots), fmt.Sprintf("%d/%d", m.PendingOwned, m.PendingSlots), raftRole(&m),
		})
	}
	return rows
}

// raftRole is what a member is in raft's group.
func raftRole(m *admin.MemberView) string {
	switch {
	case m.Leader:
		return "leader"
	case m.Voter:
		return "voter"
	}
	return "-"
}
