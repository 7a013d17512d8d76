package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// limitFlags are those of transfers set.
type limitFlags struct {
	req             admin.LimitsRequest
	rateIn, rateOut string
}

func (a *app) transfersSetCommand() *cobra.Command {
	f := &limitFlags{}
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change how many transfers run at a time, and how fast; without flags, show it",
		Long: "Change how many transfers run at a time, and how fast, in the whole cluster or at one node, at once and\n" +
			"for good: the limits are kept with the ring. What is under way goes on, at the new speed.",
		Example: "  ringcore transfers set --in 4 --out 4\n  ringcore transfers set --rate-out 20MiB --node n2\n  ringcore transfers set --rate-in none\n  ringcore transfers set --node n2 --reset",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			if err := f.check(cmd.Flags().Changed); err != nil {
				return err
			}
			var view admin.LimitsView
			if cmd.Flags().NFlag() == 0 || f.req == (admin.LimitsRequest{}) {
				err = api.get(cmd.Context(), "/v1/transfers/limits", nil, &view)
			} else {
				err = api.post(cmd.Context(), "/v1/transfers/limits", f.req, &view)
			}
			if err != nil {
				return err
			}
			return a.printLimits(&view)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.req.Node, "node", "", "of this node only, in place of the cluster's")
	fl.IntVar(&f.req.In, "in", 0, "transfers that a node receives at a time")
	fl.IntVar(&f.req.Out, "out", 0, "transfers that a node sends at a time")
	fl.IntVar(&f.req.Pair, "pair", 0, "transfers from one node to one other at a time")
	fl.StringVar(&f.rateIn, "rate-in", "", "bytes that a node receives in a second, as 20MiB, or none for no limit")
	fl.StringVar(&f.rateOut, "rate-out", "", "bytes that a node sends in a second")
	fl.BoolVar(&f.req.Reset, "reset", false, "forget what was said before; the defaults, or the cluster's limits, hold again")
	return cmd
}

// check reads the flags that are numbers of bytes, and refuses what is no limit.
func (f *limitFlags) check(changed func(flag string) bool) error {
	if err := f.rates(); err != nil {
		return err
	}
	for name, zero := range map[string]bool{
		"in": f.req.In == 0, "out": f.req.Out == 0, "pair": f.req.Pair == 0, "rate-in": f.req.BytesIn == 0, "rate-out": f.req.BytesOut == 0,
	} {
		if zero && changed(name) {
			return usagef("", "--%s 0: give a number; --reset brings the default back", name)
		}
	}
	return nil
}

// rates reads the flags that are numbers of bytes.
func (f *limitFlags) rates() error {
	for _, x := range []struct {
		flag, text string
		to         *int64
	}{{"rate-in", f.rateIn, &f.req.BytesIn}, {"rate-out", f.rateOut, &f.req.BytesOut}} {
		if x.text == "none" {
			*x.to = -1
			continue
		}
		n, err := parseRate(x.text)
		if err != nil {
			return usagef("", "--%s: %w", x.flag, err)
		}
		*x.to = n
	}
	return nil
}

func (a *app) printLimits(v *admin.LimitsView) error {
	if a.json() {
		return a.printJSON(v)
	}
	rows := [][]string{limitRow("cluster", v.Limits)}
	for _, name := range slices.Sorted(maps.Keys(v.Nodes)) {
		rows = append(rows, limitRow(name, v.Nodes[name]))
	}
	return printTable(a.out, "NODE IN OUT PAIR RATE-IN RATE-OUT", rows)
}

func limitRow(name string, l admin.Limits) []string {
	count := func(n int) string {
		if n == 0 {
			return "-"
		}
		return strconv.Itoa(n)
	}
	rate := func(n int64) string {
		switch n {
		case 0:
			return "-"
		case -1:
			return "none"
		}
		return size(n) + "/s"
	}
	return []string{name, count(l.In), count(l.Out), count(l.Pair), rate(l.BytesIn), rate(l.BytesOut)}
}

func (a *app) transfersAbortCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "abort SESSION",
		Short: "Give a transfer up; what it was for is begun anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			req := admin.AbortRequest{Session: args[0], Reason: reason}
			var result any
			if err := api.post(cmd.Context(), "/v1/transfers/abort", req, &result); err != nil {
				return err
			}
			return a.done(fmt.Sprintf("transfer %s is aborted", args[0]), result)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "for the history")
	return cmd
}

// transfersEnded prints the transfers that have ended, the newest last.
func (a *app) transfersEnded(ctx context.Context, api *apiClient) error {
	view, err := transfers(ctx, api)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(view.Ended)
	}
	var rows [][]string
	for _, e := range slices.Backward(view.Ended) {
		rows = append(rows, []string{
			e.Session, strconv.Itoa(e.Partition), strconv.Itoa(e.Slot), e.Kind, dash(e.From), dash(e.To), e.Outcome,
			strconv.FormatInt(e.Records, 10), size(e.Bytes), fmt.Sprintf("%.2f s", e.Seconds), dash(e.Reason),
		})
	}
	return printTable(a.out, "SESSION PARTITION SLOT KIND FROM TO OUTCOME RECORDS BYTES TOOK REASON", rows)
}

// gauge is a bar of ten places that is full as far as percent says.
func gauge(percent float64) string {
	full := min(max(int(percent/10), 0), 10)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", 10-full) + "]"
}
