package main

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/admin"
)

// Load is that of a second after the look before: 100 commands on n1, 50 queries on n2, and
// nothing of n3.
func (f *fakeCluster) Load(context.Context) (admin.LoadView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	n := uint64(f.looks)
	commands := admin.RequestsView{Count: 100 * n, Failed: 2 * n, Buckets: []uint64{0, 0, 90 * n, 10 * n}}
	queries := admin.RequestsView{Count: 50 * n, Buckets: []uint64{50 * n}}
	return admin.LoadView{
		At: time.Date(2026, 1, 2, 3, 4, 5+f.looks, 0, time.UTC), BucketUS: []float64{100, 200, 400, 800}, Silent: []string{"n3"},
		Nodes: []admin.NodeLoad{
			{Node: "n1", Commands: commands, Queue: 7, Deepest: 3, Busy: 1, Records: 1000, Bytes: 2_500_000, DiskFree: 5e9, DiskTotal: 9e9, CPUSeconds: 0.25 * float64(n), Memory: 64e6},
			{Node: "n2", Queries: queries, Records: 2000, Bytes: 5_000_000},
		},
	}, nil
}

func (f *fakeCluster) Vnodes(context.Context, admin.VnodesQuery) (admin.VnodesView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	records := int64(12)
	return admin.VnodesView{Vnodes: []admin.VnodeView{
		{Node: "n1", Service: "kv", Partition: 3, State: "serving", Requests: uint64(f.looks), Records: &records, Bytes: &records},
		{Node: "n2", Service: "kv", Partition: 4, Slot: -1, For: "n3", State: "serving", Requests: 1000 * uint64(f.looks), LatencyUS: 1500, Busy: true},
	}}, nil
}

func (f *fakeCluster) Explain(context.Context, string, []byte) (admin.ExplainView, error) {
	return admin.ExplainView{}, nil
}

func (f *fakeCluster) Logs(ctx context.Context, since uint64) ([]admin.LogEntry, <-chan admin.LogEntry) {
	return new(admin.LogTail).Follow(ctx, since)
}
