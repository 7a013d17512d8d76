package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (a *app) clusterJoin() *cobra.Command {
	req := admin.JoinRequest{}
	cmd := &cobra.Command{
		Use:   "join ADDR",
		Short: "Make the node at --endpoint a member of the cluster that ADDR belongs to",
		Long: "Make the node at --endpoint a member of the cluster that ADDR belongs to.\n\n" +
			"Without --commit it is staged: the node shows up there as joining, and gets its share when the plan is\n" +
			"committed. If that is cleared, it goes back to its own cluster, with its data.",
		Example: "  ringcore cluster join 127.0.0.1:7400 --commit --endpoint http://127.0.0.1:7412",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Seed = args[0]
			err := a.postStaged(cmd.Context(), "/v1/cluster/join", req, req.Commit, "joined the cluster of "+args[0])
			return hinted(err, wire.Unavailable, "ADDR is the addr= of a member's ready line; ringcore cluster members shows it, at an endpoint of that cluster")
		},
	}
	cmd.Flags().BoolVar(&req.Commit, "commit", false, "at once, without a plan")
	cmd.Flags().BoolVar(&req.Discard, "discard", false, "join even if this node holds data, and lose it")
	return cmd
}

// postStaged sends a change; if it is only staged, it says what to do next.
func (a *app) postStaged(ctx context.Context, path string, body any, commit bool, said string) error {
	if commit {
		return a.post(ctx, path, body, said)
	}
	api, err := a.api()
	if err != nil {
		return err
	}
	var answer struct {
		Committed bool   `json:"committed"`
		Staged    bool   `json:"staged"`
		Plan      string `json:"plan"`
	}
	if err := api.post(ctx, path, body, &answer); err != nil {
		return err
	}
	a.note("nothing has changed yet: ringcore cluster plan shows what would, ringcore cluster commit makes it so, clear forgets it")
	return a.done("staged", answer)
}

// changing is a command that stages a change, or makes it at once with --commit.
func (a *app) changing(use, short, long, path string, fill func(req *admin.ChangeRequest, args []string) (said string, err error)) (*cobra.Command, *admin.ChangeRequest) {
	req := new(admin.ChangeRequest)
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(strings.Count(use, " ")),
		RunE: func(cmd *cobra.Command, args []string) error {
			said, err := fill(req, args)
			if err != nil {
				return err
			}
			return a.postStaged(cmd.Context(), path, req, req.Commit, said)
		},
	}
	if long != "" {
		cmd.Long = short + ".\n\n" + long
	}
	cmd.Flags().BoolVar(&req.Commit, "commit", false, "at once, without a plan; what is staged stays staged")
	return cmd, req
}

func (a *app) clusterLeave() *cobra.Command {
	cmd, _ := a.changing("leave NODE", "Let a member hand off what it owns, and go", "", "/v1/cluster/leave",
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Node = args[0]
			return args[0] + " is leaving; ringcore transfers shows how it goes", nil
		})
	return cmd
}

func (a *app) clusterDown() *cobra.Command {
	cmd, _ := a.changing("down NODE", "Mark a member as down",
		"It keeps what it owns, and counts as a member; it is up again as soon as it is seen.", "/v1/cluster/down",
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Node = args[0]
			return args[0] + " is marked as down", nil
		})
	return cmd
}

const stoppedHelp = "the node is stopped, and will not be started again on its data"

func (a *app) clusterForceRemove() *cobra.Command {
	cmd, req := a.changing("force-remove NODE", "Remove a member that is lost, without its help",
		"It is out of the ring at once. Others get its places and fill them from the replicas that are left; what\n"+
			"has no other replica is lost: with --commit that takes --accept-loss. A node that runs on would serve what it has to those who reach it.", "/v1/cluster/force-remove",
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Node = args[0]
			return args[0] + " is removed; ringcore transfers shows how its places are filled", nil
		})
	forcing(cmd, req)
	return cmd
}

// forcing adds the flags of a change that takes a member out without its help. That it is
// stopped is for the operator to say, so it is always said, one way or the other.
func forcing(cmd *cobra.Command, req *admin.ChangeRequest) {
	req.Stopped = new(bool)
	cmd.Flags().BoolVar(req.Stopped, "stopped", false, stoppedHelp)
	cmd.Flags().BoolVar(&req.AcceptLoss, "accept-loss", false, "with --commit: also if data is lost for good")
}

func (a *app) clusterReplace() *cobra.Command {
	cmd, req := a.changing("replace OLD NEW", "Hand all places of one member to another, and let it go",
		"NEW is a member that has no places yet: one whose join is staged. Nothing else moves. If OLD cannot be\n"+
			"reached, --stopped makes it a force-replace.", "/v1/cluster/replace",
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Old, req.New = args[0], args[1]
			return args[1] + " takes over from " + args[0] + "; ringcore transfers shows how it goes", nil
		})
	forcing(cmd, req)
	return cmd
}

func (a *app) clusterForceReplace() *cobra.Command {
	cmd, req := a.changing("force-replace OLD NEW", "Give the places of a member that is lost to another",
		"As force-remove, but that NEW, which has no places yet, gets them all, and nothing else moves.", "/v1/cluster/force-replace",
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Old, req.New = args[0], args[1]
			return args[1] + " has the places of " + args[0] + "; ringcore transfers shows how they are filled", nil
		})
	forcing(cmd, req)
	return cmd
}

func (a *app) clusterSet() *cobra.Command {
	const path = "/v1/cluster/set"
	replicas, _ := a.changing("replicas N", "How many replicas each partition has", "", path,
		func(req *admin.ChangeRequest, args []string) (string, error) {
			n, err := number("replicas", args[0])
			req.Replicas = &n
			return "the cluster keeps " + args[0] + " replicas of each partition", err
		})
	weight, _ := a.changing("weight NODE W", "A member's share of the ring, against 1 of the others", "", path,
		func(req *admin.ChangeRequest, args []string) (string, error) {
			w, err := number("weight", args[1])
			req.Node, req.Weight = args[0], &w
			return args[0] + " has the weight " + args[1], err
		})
	zone, _ := a.changing("zone NODE ZONE", "The zone that a member stands in", "", path,
		func(req *admin.ChangeRequest, args []string) (string, error) {
			req.Node, req.Zone = args[0], &args[1]
			return args[0] + " stands in zone " + args[1], nil
		})
	partitions, _ := a.changing("partitions N", "Refused: the number is fixed when a cluster is born", "", path,
		func(req *admin.ChangeRequest, args []string) (string, error) {
			n, err := number("partitions", args[0])
			req.Partitions = &n
			return "", err
		})
	return group("set", "Change the cluster's settings", replicas, weight, zone, partitions)
}

func number(what, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, usagef("", "%s is %q, and no number", what, s)
	}
	return n, nil
}
