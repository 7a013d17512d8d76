package admin_test

import (
	"context"
	"io"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func (f *fakeNode) Backup(context.Context) (admin.BackupView, error) {
	return admin.BackupView{
		ClusterID: "5f6e", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "0.1.0", Epoch: 12, Partitions: 8, Replicas: 2,
		Services: []admin.BackupService{{Name: "kv", Replicas: 2}},
		Buckets:  map[string]wire.BucketProps{"carts": {Siblings: true}},
	}, f.fail()
}

// Fold has three records; with "break" for what is known, it fails behind the second.
func (f *fakeNode) Fold(_ context.Context, _ string, p int, known []byte, begin func([]byte) error, emit func(*wire.Item) error) error {
	if err := f.fail(); err != nil {
		return err
	}
	if p > 7 {
		return wire.Errorf(wire.NotFound, "there is no partition %d", p)
	}
	if err := begin([]byte("all")); err != nil {
		return err
	}
	for i, key := range []string{"a", "b", "c"} {
		if i == 2 && string(known) == "break" {
			return wire.Errorf(wire.Unavailable, "a replica died")
		}
		if err := emit(&wire.Item{Key: []byte(key), Stamp: wire.Stamp{Time: 7}, Value: []byte("v")}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) Restore(_ context.Context, _ string, _, _ int, next func() (wire.Item, error)) (admin.Restored, error) {
	var done admin.Restored
	for {
		switch _, err := next(); err {
		case nil:
			done.Records++
		case io.EOF:
			return done, f.fail()
		default:
			return done, err
		}
	}
}
