package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// statusNamed is how many partitions a line of cluster status names.
const statusNamed = 16

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "One look at the whole; exit code 3 if something is wrong",
		Long: "One look at the whole: whether all is well, who is a member and holds how much, what moves, what waits for\n" +
			"whom, and what helps. Exit code 3 if something is wrong; partitions on the move are not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			var s admin.StatusView
			if err := api.get(cmd.Context(), "/v1/cluster/status", nil, &s); err != nil {
				return err
			}
			if a.json() {
				err = a.printJSON(s)
			} else {
				err = a.printStatus(&s)
			}
			if err == nil && !s.Healthy {
				err = &failure{code: exitUnhealthy, err: errors.New(strings.Join(s.Reasons, "; ")), quiet: true}
			}
			return err
		},
	}
}

func (a *app) printStatus(s *admin.StatusView) error {
	verdict := "healthy"
	if !s.Healthy {
		verdict = "unhealthy: " + strings.Join(s.Reasons, "; ")
	}
	fmt.Fprintf(a.out, "%s\n\ncluster    %s\nepoch      %d\npartitions %d with %d replicas\ntransfers  %s\n\n",
		verdict, s.ClusterID, s.Epoch, s.Partitions, s.Replicas, movingLine(&s.Moving))
	if err := printTable(a.out, "NAME STATUS UP ZONE WEIGHT OWNED SLOTS RAFT", statusRows(s.Members)); err != nil {
		return err
	}
	if lines := statusLines(s); len(lines) > 0 {
		fmt.Fprintf(a.out, "\n%s\n", strings.Join(lines, "\n"))
	}
	return nil
}

// movingLine is what moves, and how fast.
func movingLine(m *admin.MovingView) string {
	line := fmt.Sprintf("%d active, %d waiting", m.Active, m.Waiting)
	if m.BytesPerS > 0 {
		line += fmt.Sprintf("; %d records/s, %s/s", m.RecordsPer, size(m.BytesPerS))
	}
	if m.ETAS > 0 {
		line += fmt.Sprintf("; %s left", time.Duration(m.ETAS)*time.Second)
	}
	return line
}

func statusRows(members []admin.MemberView) [][]string {
	var rows [][]string
	for _, m := range members {
		rows = append(rows, []string{
			m.Name, m.Status, mark(m.Up), dash(m.Zone), strconv.Itoa(m.Weight), changedTo(m.Owned, m.PendingOwned),
			changedTo(m.Slots, m.PendingSlots), raftRole(&m),
		})
	}
	return rows
}

// statusLines say what waits for whom, and what is not as it should be; none if there is nothing.
func statusLines(s *admin.StatusView) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, w := range s.Waiting {
		add("waiting    for %s: %s", cmp.Or(w.For, "a leader"), w.About)
		add("           %s", w.Help)
	}
	for _, h := range s.Hints {
		add("hints      for %s: %d records in %d stores, kept by %s; delivered when it is up", h.For, h.Records, h.Slots, strings.Join(h.Holders, ", "))
	}
	if len(s.Live.Unreadable) > 0 {
		add("replicas   none lives of partition %s", numbers(s.Live.Unreadable))
	}
	if len(s.Live.Minority) > len(s.Live.Unreadable) {
		add("replicas   no majority lives of partition %s", numbers(s.Live.Minority))
	}
	for _, x := range s.Slots {
		reason := ""
		if x.Reason != "" {
			reason = ": " + x.Reason
		}
		add("slots      %s of service %s on %s, partition %s%s", x.State, x.Service, x.Node, numbers(x.Partitions), reason)
	}
	for _, c := range s.Checks {
		add("check      %s of %s: %s", c.Name, c.Node, c.Detail)
	}
	if len(s.Silent) > 0 {
		add("silent     %s did not say how they do within a second", strings.Join(s.Silent, ", "))
	}
	if len(s.Staged) > 0 {
		add("staged     %s", strings.Join(s.Staged, "; "))
		add("           ringcore cluster plan shows what that would do; then commit or clear")
	}
	return lines
}

// numbers are the first few of all, with ranges.
func numbers(all []int) string {
	var parts []string
	for i := 0; i < len(all); {
		end := i
		for end+1 < len(all) && all[end+1] == all[end]+1 {
			end++
		}
		if len(parts) == statusNamed {
			parts = append(parts, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		part := strconv.Itoa(all[i])
		if end > i {
			part += "-" + strconv.Itoa(all[end])
		}
		parts = append(parts, part)
		i = end + 1
	}
	return strings.Join(parts, ", ")
}
