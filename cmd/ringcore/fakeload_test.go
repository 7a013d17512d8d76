package main

import (
	"context"

	"github.com/ringcore/ringcore/admin"
)

func (f *fakeCluster) Load(context.Context) (admin.LoadView, error) { return admin.LoadView{}, nil }

func (f *fakeCluster) Vnodes(context.Context, admin.VnodesQuery) (admin.VnodesView, error) {
	return admin.VnodesView{}, nil
}

func (f *fakeCluster) Explain(context.Context, string, []byte) (admin.ExplainView, error) {
	return admin.ExplainView{}, nil
}

func (f *fakeCluster) Logs(ctx context.Context, since uint64) ([]admin.LogEntry, <-chan admin.LogEntry) {
	return new(admin.LogTail).Follow(ctx, since)
}
