package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// repairPatience is how long repair --wait goes on when a node that repairs tells
// nothing any more.
const repairPatience = 30 * time.Second

func (a *app) repairCommand() *cobra.Command {
	var partition int
	var node string
	var wait bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Compare every record on all replicas, and give each what it lacks",
		Long: "Compare every record of one partition, of a node's partitions, or of all, on all replicas that are up,\n" +
			"and merge what differs. Nodes do this by themselves for what their hash trees show; a repair reads every\n" +
			"record. It runs on the nodes: ringcore repairs tells how far it is, also when this command was stopped.",
		Example: "  ringcore repair --wait\n  ringcore repair --partition 12\n  ringcore repair --node n2 --wait",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := admin.RepairRequest{Node: node}
			if cmd.Flags().Changed("partition") {
				req.Partition = &partition
			}
			return a.repair(cmd.Context(), req, wait)
		},
	}
	cmd.Flags().IntVar(&partition, "partition", 0, "this partition only")
	cmd.Flags().StringVar(&node, "node", "", "the partitions of this node only")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done, and tell what it has found")
	return cmd
}

func (a *app) repairsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repairs",
		Short: "List repairs, those that have ended too",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, "/v1/repairs", func(view admin.RepairsView) error { return a.printRepairs(view.Repairs) })
		},
	}
}

// repair begins a repair and, if it is to, waits for its end.
func (a *app) repair(ctx context.Context, req admin.RepairRequest, wait bool) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var started admin.RepairStarted
	if err := api.post(ctx, "/v1/repair", req, &started); err != nil {
		return err
	}
	if len(started.Skipped) > 0 {
		a.note("no replica could be reached of the partitions %v: they are not repaired", started.Skipped)
	}
	if !wait {
		return a.done(fmt.Sprintf("%d partitions are being repaired by %s; ringcore repairs tells how far it is",
			started.Partitions, strings.Join(started.Nodes, ", ")), started)
	}
	runs, err := a.awaitRepair(ctx, api, &started)
	if err != nil {
		return err
	}
	if a.json() {
		err = a.printJSON(runs)
	} else {
		err = a.printRepairs(runs)
	}
	return errors.Join(err, a.judgeRepair(runs, len(started.Skipped)))
}

// awaitRepair waits until all nodes have done their parts.
func (a *app) awaitRepair(ctx context.Context, api *apiClient, started *admin.RepairStarted) ([]admin.RepairView, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	heard := time.Now()
	for {
		var view admin.RepairsView
		if err := api.get(ctx, "/v1/repairs", nil, &view); err != nil {
			return nil, err
		}
		runs := slices.DeleteFunc(view.Repairs, func(r admin.RepairView) bool { return r.ID != started.ID })
		if len(runs) == len(started.Nodes) {
			heard = time.Now()
			if !slices.ContainsFunc(runs, func(r admin.RepairView) bool { return r.Ended == nil }) {
				return runs, nil
			}
		}
		if time.Since(heard) > repairPatience {
			return nil, fmt.Errorf("of the nodes that repair (%s) not all tell how far they are: one of them may be down; ringcore cluster members shows it",
				strings.Join(started.Nodes, ", "))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// judgeRepair tells what a repair has left undone, as an error if it was possible.
func (a *app) judgeRepair(runs []admin.RepairView, failed int) error {
	var unreached []string
	for _, r := range runs {
		failed += r.Failed
		for _, e := range r.Errors {
			a.note("%s: %s", r.Node, e)
		}
		unreached = append(unreached, r.Unreached...)
	}
	if slices.Sort(unreached); len(unreached) > 0 {
		a.note("replicas on %s were not reached: they are compared when they are back", strings.Join(slices.Compact(unreached), ", "))
	}
	if failed > 0 {
		return &failure{code: exitFailed, err: fmt.Errorf("%d partitions were not repaired", failed), hint: "repair them again when all nodes are up and nothing moves"}
	}
	return nil
}

func (a *app) printRepairs(runs []admin.RepairView) error {
	var rows [][]string
	for _, r := range runs {
		took := "running"
		if r.Ended != nil {
			took = r.Ended.Sub(r.Started).Round(time.Millisecond).String()
		}
		rows = append(rows, []string{
			r.ID, r.Node, r.Started.Local().Format(time.DateTime), took, fmt.Sprintf("%d/%d", r.Done, r.Partitions),
			strconv.FormatInt(r.Compared, 10), strconv.FormatInt(r.Sent, 10), strconv.FormatInt(r.Received, 10), strconv.Itoa(r.Failed),
			dash(strings.Join(r.Unreached, ",")),
		})
	}
	return printTable(a.out, "ID NODE STARTED TOOK PARTITIONS COMPARED SENT RECEIVED FAILED UNREACHED", rows)
}
