package main

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// The fake cluster holds nothing that could be backed up.

func (f *fakeCluster) Backup(context.Context) (admin.BackupView, error) {
	return admin.BackupView{
		ClusterID: "c1", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "0.1.0", Epoch: 9, Partitions: 64, Replicas: 3,
		Services: []admin.BackupService{{Name: "kv", Replicas: 3}}, Buckets: map[string]wire.BucketProps{},
	}, nil
}

func (f *fakeCluster) Fold(_ context.Context, _ string, p int, _ []byte, begin func([]byte) error, _ func(*wire.Item) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missing && p == 7 {
		return wire.Errorf(wire.Unavailable, "partition 7 of service kv: too few slots can be read")
	}
	return begin(make([]byte, 128))
}

func (f *fakeCluster) Restore(context.Context, string, int, int, func() (wire.Item, error)) (admin.Restored, error) {
	return admin.Restored{}, nil
}
