package main

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (f *fakeCluster) SetLimits(_ context.Context, req admin.LimitsRequest) (admin.LimitsView, error) {
	if req.BytesOut > 0 && req.BytesOut < 1000 {
		return admin.LimitsView{}, wire.Errorf(wire.BadRequest, "%d bytes in a second: give more", req.BytesOut)
	}
	v := fakeLimits()
	if req.Node == "" {
		v.Limits = req.Limits
		return v, nil
	}
	v.Nodes = map[string]admin.Limits{req.Node: req.Limits}
	return v, nil
}

func (f *fakeCluster) AbortTransfer(_ context.Context, req admin.AbortRequest) error {
	if req.Session != "s1" {
		return wire.Errorf(wire.NotFound, "transfer %s is not under way", req.Session)
	}
	return nil
}

func fakeLimits() admin.LimitsView {
	return admin.LimitsView{Limits: admin.Limits{In: 16, Out: 16, Pair: 8, BytesIn: -1, BytesOut: -1}}
}

func fakeEnded() []admin.EndedView {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []admin.EndedView{{
		Session: "s0", Kind: "move", Partition: 4, From: "n1", To: "n3", Outcome: "aborted", Reason: "a node that it needs is down",
		Started: begun, Ended: begun.Add(12 * time.Second), Seconds: 12,
	}}
}
