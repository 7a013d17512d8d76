package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (a *app) clusterPlan() *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what the staged changes would do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, "/v1/cluster/plan", func(plan admin.PlanView) error { return a.printPlan(&plan) })
		},
	}
}

func (a *app) printPlan(p *admin.PlanView) error {
	if p.Plan == "" {
		fmt.Fprintln(a.out, "nothing is staged")
		if len(p.Transfers) > 0 {
			fmt.Fprintln(a.out, "\ntransfers of what was committed before:")
			return printTable(a.out, plannedHeader, plannedRows(p.Transfers))
		}
		return nil
	}
	fmt.Fprintf(a.out, "plan %s\n\nchanges\n", p.Plan)
	for i, c := range p.Changes {
		fmt.Fprintf(a.out, "  %d. %s\n", i+1, c.About)
	}
	fmt.Fprintln(a.out)
	if err := printTable(a.out, "MEMBER STATUS ZONE WEIGHT OWNED SLOTS SHARE", planRows(p.Members)); err != nil {
		return err
	}
	if len(p.Warnings) > 0 {
		fmt.Fprintln(a.out, "\nwarnings")
		for _, w := range p.Warnings {
			fmt.Fprintln(a.out, "  "+w)
		}
	}
	if len(p.Transfers) == 0 {
		fmt.Fprintln(a.out, "\nno partition moves")
	} else {
		fmt.Fprintln(a.out, "\ntransfers")
		if err := printTable(a.out, plannedHeader, plannedRows(p.Transfers)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.out, "\nringcore cluster commit --plan %s\n", p.Plan)
	return err
}

// planRows show what changes as "now>then".
func planRows(members []admin.PlanMember) [][]string {
	var rows [][]string
	for _, m := range members {
		name := m.Name
		if !m.Up {
			name += " (not up)"
		}
		rows = append(rows, []string{
			name, turn(m.Now.Status, m.Then.Status), turn(dash(m.Now.Zone), dash(m.Then.Zone)), turn(m.Now.Weight, m.Then.Weight),
			turn(m.Now.Owned, m.Then.Owned), turn(m.Now.Slots, m.Then.Slots),
			turn(fmt.Sprintf("%.1f%%", m.Now.Share), fmt.Sprintf("%.1f%%", m.Then.Share)),
		})
	}
	return rows
}

// turn is now>then, or just now if that is the same.
func turn[T comparable](now, then T) string {
	if now == then {
		return fmt.Sprint(now)
	}
	return fmt.Sprint(now) + " > " + fmt.Sprint(then)
}

const plannedHeader = "KIND FROM TO PARTITIONS RECORDS BYTES"

func plannedRows(transfers []admin.PlannedTransfer) [][]string {
	var rows [][]string
	for _, t := range transfers {
		from, to, records, bytes := t.From, dash(t.To), "?", "?"
		if from == "" {
			from = "(replicas)"
		}
		if t.Records != nil && t.Bytes != nil {
			records, bytes = strconv.FormatInt(*t.Records, 10), size(*t.Bytes)
		}
		rows = append(rows, []string{t.Kind, from, to, strconv.Itoa(t.Partitions), records, bytes})
	}
	return rows
}

func (a *app) clusterCommit() *cobra.Command {
	var plan string
	var wait, acceptLoss bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "commit",
		Short: "Make the staged changes",
		Long: "Make the staged changes, all of them or none.\n\n" +
			"With --plan it is refused if anything has changed since the plan with that hash was shown; without,\n" +
			"the plan is taken as it is now, and its warnings are printed. If it loses data for good, it takes\n" +
			"--plan, by which you say that you have read it, or --accept-loss.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			if err := a.commitPlan(cmd.Context(), api, plan, acceptLoss); err != nil {
				return err
			}
			if wait {
				if err := a.waitSettled(cmd.Context(), limit); err != nil {
					return err
				}
			}
			return a.done("committed", map[string]bool{"committed": true})
		},
	}
	cmd.Flags().StringVar(&plan, "plan", "", "hash of the plan that was read")
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false, "without --plan: also if data is lost for good")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all transfers are done")
	cmd.Flags().DurationVar(&limit, "wait-timeout", time.Hour, "how long --wait waits")
	return cmd
}

// commitPlan commits the plan of that hash, or, if it is empty, the plan as it is: while
// partitions move that may take more than one try.
func (a *app) commitPlan(ctx context.Context, api *apiClient, hash string, acceptLoss bool) error {
	const tries = 10
	for try := 1; ; try++ {
		want := hash
		if want == "" {
			var plan admin.PlanView
			if err := api.get(ctx, "/v1/cluster/plan", nil, &plan); err != nil {
				return err
			}
			if want = plan.Plan; want == "" {
				return &failure{code: exitRefused, err: fmt.Errorf("nothing is staged, so there is nothing to commit"), hint: "stage a change first: see ringcore cluster --help"}
			}
			for _, w := range plan.Warnings {
				if try == 1 {
					a.note("warning: %s", w)
				}
			}
			if plan.LosesData && !acceptLoss {
				return &failure{
					code: exitRefused, err: fmt.Errorf("the plan loses data for good, and nothing has been changed"),
					hint: fmt.Sprintf("ringcore cluster plan shows what; ringcore cluster commit --plan %s, or --accept-loss, does it all the same", want),
				}
			}
		}
		err := api.post(ctx, "/v1/cluster/commit", map[string]string{"plan": want}, nil)
		if err == nil || hash != "" || try == tries || !isProblem(err, wire.Conflict) {
			return hinted(err, wire.Conflict, "ringcore cluster plan shows the plan as it is now, with its hash")
		}
	}
}

// waitSettled returns when nothing is on the move any more.
func (a *app) waitSettled(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := a.waitForTransfers(ctx)
	if err != nil && ctx.Err() != nil && strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		return &failure{code: exitTimeout, err: fmt.Errorf("committed, and partitions still move after %s", limit), hint: "see ringcore transfers"}
	}
	return err
}

func (a *app) clusterClear() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Forget the staged changes; nodes whose join is staged go back to their own clusters",
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
