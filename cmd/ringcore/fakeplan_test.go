package main

import (
	"context"
	"slices"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

const fakeHash = "5a5a"

func (f *fakeCluster) Change(_ context.Context, req admin.ChangeRequest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{req.Node, req.Old} {
		if name != "" && !slices.Contains(fakeNames, name) {
			return "", wire.Errorf(wire.NotFound, "there is no member %s", name)
		}
	}
	if req.Kind == "force-remove" && (req.Stopped == nil || !*req.Stopped) {
		return "", wire.Errorf(wire.Refused, "say that it is stopped")
	}
	if req.Commit {
		return "", nil
	}
	f.staged = append(f.staged, admin.PlanChange{Kind: req.Kind, Node: req.Node + req.Old, New: req.New, About: req.Kind + " " + req.Node + req.Old})
	return fakeHash, nil
}

func (f *fakeCluster) Plan(context.Context) (admin.PlanView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.staged) == 0 {
		return admin.PlanView{}, nil
	}
	records, bytes := int64(1200), int64(2_500_000)
	side := admin.PlanSide{Status: "valid", Weight: 1, Owned: 21, Slots: 64, Share: 33.3}
	gone, more := side, side
	gone.Status, gone.Owned, gone.Slots, gone.Share = "left", 0, 0, 0
	more.Owned, more.Slots, more.Share = 32, 64, 50
	return admin.PlanView{
		Plan: fakeHash, Changes: f.staged, Warnings: []string{"replicas of 64 partitions are on fewer than 3 nodes"},
		Members: []admin.PlanMember{
			{Name: "n1", Up: true, Now: side, Then: more}, {Name: "n2", Up: true, Now: side, Then: more}, {Name: "n3", Now: side, Then: gone},
		},
		Transfers: []admin.PlannedTransfer{
			{Kind: "move", From: "n3", To: "n1", Partitions: 11, Records: &records, Bytes: &bytes}, {Kind: "drop", From: "n3", Partitions: 64},
		},
	}, nil
}

func (f *fakeCluster) CommitPlan(_ context.Context, hash string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hash != fakeHash {
		return wire.Errorf(wire.Conflict, "the plan has changed")
	}
	f.staged = nil
	return nil
}

func (f *fakeCluster) ClearPlan(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.staged = nil
	return nil
}
