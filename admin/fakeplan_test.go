package admin_test

import (
	"context"

	"github.com/ringcore/ringcore/admin"
)

func (f *fakeNode) Change(_ context.Context, req admin.ChangeRequest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, req)
	return "5a5a", f.err
}

func (f *fakeNode) Plan(context.Context) (admin.PlanView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan, f.err
}

func (f *fakeNode) CommitPlan(_ context.Context, hash string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits = append(f.commits, hash)
	return f.err
}

func (f *fakeNode) ClearPlan(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleared = true
	return f.err
}
