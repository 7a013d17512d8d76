package admin_test

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/admin"
)

func (f *fakeNode) Load(context.Context) (admin.LoadView, error) {
	return admin.LoadView{
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), BucketUS: []float64{1.5, 2}, Silent: []string{"n2"},
		Nodes: []admin.NodeLoad{{
			Node: "n1", Commands: admin.RequestsView{Count: 7, Failed: 1, Seconds: 0.5, Buckets: []uint64{3, 4}}, Open: 5, Unopened: 3, Queue: 2, Deepest: 1,
			Records: 1000, Bytes: 250_000, DiskFree: 1 << 30, DiskTotal: 1 << 34, LogBytes: 4096, TableBytes: 512, CPUSeconds: 12.5, Memory: 1 << 26,
		}},
	}, f.fail()
}

func (f *fakeNode) Vnodes(_ context.Context, q admin.VnodesQuery) (admin.VnodesView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vnodes = q
	records, live, bytes := int64(12), int64(11), int64(3456)
	return admin.VnodesView{Silent: []string{"n2"}, Vnodes: []admin.VnodeView{
		{Node: "n1", Service: "kv", Partition: 3, Slot: 0, State: "serving", Queue: 2, Requests: 170, LatencyUS: 250, Records: &records, Live: &live, Bytes: &bytes},
		{Node: "n1", Service: "kv", Partition: 4, Slot: -1, For: "n2", State: "waiting", Reason: "n2 may hold hints", Busy: true},
	}}, f.err
}

func (f *fakeNode) Explain(_ context.Context, bucket string, key []byte) (admin.ExplainView, error) {
	written := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return admin.ExplainView{
		Bucket: bucket, Key: string(key), Hash: "00ff", Epoch: 12, Partition: 3, Index: "548063113999088594326381812268606132370974703616", Gen: 4,
		Copies: []admin.CopyView{
			{
				Node: "n1", Slot: 0, State: "serving", Found: true, Version: "1a-2b", Written: &written, By: "n1", Bytes: 6,
				Values: []admin.ValueView{{Bytes: 5, Preview: "hello", Text: true}},
			},
			{Node: "n2", Slot: 1, Error: "it cannot be reached"},
		}, Verdict: "The key exists.",
	}, f.fail()
}

func (f *fakeNode) Logs(ctx context.Context, since uint64) ([]admin.LogEntry, <-chan admin.LogEntry) {
	return f.tail.Follow(ctx, since)
}
