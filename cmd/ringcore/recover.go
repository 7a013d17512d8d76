package main

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (a *app) recoverCommand() *cobra.Command {
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --data-dir DIR [--yes]",
		Short: "Make the cluster of a stopped node anew after most of raft's voters were lost",
		Long: "When a majority of raft's voters is lost for good the data is served on, and the ring cannot change any\n" +
			"more. This command, run on one node that is left and is stopped, makes that node the only voter. It keeps\n" +
			"all members, their shares of the ring and all data. Start the node then: the others that are left follow it\n" +
			"by themselves, and new voters are chosen. Remove or replace the lost nodes afterwards.\n\n" +
			"Do not start the lost nodes where they cannot reach this one. They would still be a majority of the\n" +
			"former voters, and serve what they know; nothing can stop them before they meet a node that has followed.\n" +
			"Then they serve nothing until they have followed too, or stop if the ring has changed on their side.\n\n" +
			"Without --yes it only says what it has found and would do.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("pass --data-dir DIR of the stopped node", "there is no data directory")
			}
			if used, _ := traces(dir); !used {
				return &failure{code: exitFailed, err: fmt.Errorf("%s holds no node", dir), hint: "pass the --data-dir with which the node is started"}
			}
			survey, err := ringcore.Recover(cmd.Context(), dir, yes)
			if a.json() && err == nil {
				if err := a.printJSON(surveyJSON(&survey, yes)); err != nil {
					return err
				}
			} else if len(survey.Members) > 0 {
				a.printSurvey(&survey, yes && err == nil)
			}
			return recoverFailure(err, yes)
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "folder of the stopped node (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// recoverFailure gives err its exit code and hint. To have only looked is no success.
func recoverFailure(err error, yes bool) error {
	switch {
	case err == nil && yes:
		return nil
	case err == nil:
		return &failure{code: exitRefused, err: errors.New("nothing has been changed"), hint: "pass --yes to do it"}
	case errors.Is(err, syscall.EWOULDBLOCK):
		return &failure{code: exitRefused, err: err, hint: "stop the node first: recover needs its files for itself"}
	case errors.Is(err, &wire.Error{Code: wire.Refused}):
		return &failure{code: exitRefused, err: err}
	}
	return err
}

func surveyJSON(s *ringcore.Survey, done bool) map[string]any {
	members := []map[string]any{}
	for _, m := range s.Members {
		members = append(members, map[string]any{"name": m.Name, "addr": m.Addr, "voter": m.Voter, "self": m.Self, "answers": m.Answers, "epoch": m.Epoch})
	}
	return map[string]any{
		"node": s.Name, "cluster_id": s.ClusterID, "generation": s.Generation, "epoch": s.Epoch, "recovered": done, "members": members,
	}
}

func (a *app) printSurvey(s *ringcore.Survey, done bool) {
	var rows [][]string
	for _, m := range s.Members {
		state, epoch := "does not answer", "-"
		switch {
		case m.Self:
			state, epoch = "this node", strconv.FormatUint(s.Epoch, 10)
		case m.Answers:
			state, epoch = "answers", strconv.FormatUint(m.Epoch, 10)
		}
		rows = append(rows, []string{m.Name, m.Addr, mark(m.Voter), state, epoch})
	}
	_ = printTable(a.out, "NAME ADDR VOTER STATE EPOCH", rows)
	if done {
		fmt.Fprintf(a.out, "cluster %s begins generation %d with %s as the only voter: start it, and the others follow\n", s.ClusterID, s.Generation, s.Name)
		return
	}
	fmt.Fprintf(a.out, "would begin generation %d of cluster %s, as %s knows it, with %s as the only voter;\n"+
		"members and data stay, open transfers are begun anew, what the lost voters alone have committed is lost\n", s.Generation, s.ClusterID, s.Name, s.Name)
}
