package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata/ring"
)

func (a *app) ringCommand() *cobra.Command {
	return group("ring", "Look at the ring", a.ringStatus(), a.ringPreflist(), a.ringSimulate())
}

func (a *app) ringStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Draw who owns which partition",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, "/v1/ring", func(view admin.RingView) error {
				r, err := ringOf(&view)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(a.out, ring.Figure(r, func(id ring.NodeID) string { return string(id) }))
				return err
			})
		},
	}
}

// ringOf makes a ring of its view. The nodes' names stand in for their ids.
func ringOf(v *admin.RingView) (*ring.Ring, error) {
	if !ring.ValidPartitions(len(v.Owners)) {
		return nil, fmt.Errorf("the ring in the answer has %d partitions", len(v.Owners))
	}
	r := &ring.Ring{Epoch: ring.Epoch(v.Epoch), N: v.Replicas, Assignments: make([]ring.Assignment, len(v.Owners))}
	for p, names := range v.Owners {
		if len(names) == 0 {
			return nil, fmt.Errorf("partition %d has no owner in the answer", p)
		}
		for _, name := range names {
			r.Assignments[p].Replicas = append(r.Assignments[p].Replicas, ring.Replica{Node: ring.NodeID(name)})
		}
		if p < len(v.Gens) {
			r.Assignments[p].Gen = ring.Gen(v.Gens[p])
		}
	}
	return r, nil
}

func (a *app) ringPreflist() *cobra.Command {
	var bucket string
	var n int
	cmd := &cobra.Command{
		Use:     "preflist KEY",
		Short:   "Say where a key lives",
		Example: "  ringcore ring preflist k1 -n 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			query := url.Values{"bucket": {bucket}, "key": {args[0]}}
			if cmd.Flags().Changed("n") {
				query.Set("n", strconv.Itoa(n))
			}
			list := []admin.PreflistEntry{}
			if err := api.get(cmd.Context(), "/v1/preflist", query, &list); err != nil {
				return err
			}
			if n > len(list) && cmd.Flags().Changed("n") {
				a.note("note: %d places were asked for, and there are %d", n, len(list))
			}
			if a.json() {
				return a.printJSON(list)
			}
			return printTable(a.out, "PARTITION SLOT NODE ROLE FOR", preflistRows(list))
		},
	}
	cmd.Flags().StringVarP(&bucket, "bucket", "b", "default", "bucket")
	a.completeBucketFlag(cmd)
	cmd.Flags().IntVarP(&n, "n", "n", 0, "how many places (as many as the cluster has replicas)")
	return cmd
}

func preflistRows(list []admin.PreflistEntry) [][]string {
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{strconv.Itoa(e.Partition), strconv.Itoa(e.Slot), e.Node, e.Role, dash(e.For)})
	}
	return rows
}
