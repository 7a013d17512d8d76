package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// clusterState is what `cluster status` shows, and its JSON.
type clusterState struct {
	Healthy    bool                `json:"healthy"`
	Reasons    []string            `json:"reasons"` // why not
	ClusterID  string              `json:"cluster_id"`
	Epoch      uint64              `json:"epoch"`
	Partitions int                 `json:"partitions"`
	Replicas   int                 `json:"replicas"`
	Members    []admin.MemberView  `json:"members"`
	Transfers  admin.TransfersView `json:"transfers"`
}

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "One look at the whole; exit code 3 if something is wrong",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.clusterState(cmd)
			if err != nil {
				return err
			}
			if err := a.printStatus(s); err != nil {
				return err
			}
			if !s.Healthy {
				return &failure{code: exitUnhealthy, err: errors.New(strings.Join(s.Reasons, "; ")), quiet: true}
			}
			return nil
		},
	}
}

// clusterState asks for all that makes up the state.
func (a *app) clusterState(cmd *cobra.Command) (*clusterState, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	var view admin.RingView
	s := &clusterState{Members: []admin.MemberView{}}
	if err := api.get(cmd.Context(), "/v1/ring", nil, &view); err != nil {
		return nil, err
	}
	if err := api.get(cmd.Context(), "/v1/members", nil, &s.Members); err != nil {
		return nil, err
	}
	if err := api.get(cmd.Context(), "/v1/transfers", nil, &s.Transfers); err != nil {
		return nil, err
	}
	s.ClusterID, s.Epoch, s.Partitions, s.Replicas = view.ClusterID, view.Epoch, view.Partitions, view.Replicas
	s.judge(&view)
	return s, nil
}

// judge says what is wrong. Partitions on the move are not.
func (s *clusterState) judge(view *admin.RingView) {
	s.Reasons = []string{}
	members, leader := 0, false
	for _, m := range s.Members {
		leader = leader || m.Leader
		switch {
		case m.Status == "left":
			continue
		case m.Status == "down":
			s.Reasons = append(s.Reasons, m.Name+" is marked as down")
		case !m.Up:
			s.Reasons = append(s.Reasons, m.Name+" cannot be reached")
		case m.Status == "valid":
			members++
		}
	}
	if !leader {
		s.Reasons = append(s.Reasons, "no leader is known: nothing can be changed")
	}
	short := 0
	for _, list := range view.Owners {
		if len(list) < min(view.Replicas, members) {
			short++
		}
	}
	if short > 0 && len(s.Transfers.Active)+s.Transfers.Waiting == 0 {
		s.Reasons = append(s.Reasons, fmt.Sprintf("%d partitions have too few replicas", short))
	}
	s.Healthy = len(s.Reasons) == 0
}

func (a *app) printStatus(s *clusterState) error {
	if a.json() {
		return a.printJSON(s)
	}
	verdict := "healthy"
	if !s.Healthy {
		verdict = "unhealthy: " + strings.Join(s.Reasons, "; ")
	}
	fmt.Fprintf(a.out, "%s\n\ncluster    %s\nepoch      %d\npartitions %d with %d replicas\ntransfers  %d active, %d waiting\n\n",
		verdict, s.ClusterID, s.Epoch, s.Partitions, s.Replicas, len(s.Transfers.Active), s.Transfers.Waiting)
	return printTable(a.out, memberHeader, memberRows(s.Members))
}
