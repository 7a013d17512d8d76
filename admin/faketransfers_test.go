package admin_test

import (
	"context"

	"github.com/ringcore/ringcore/admin"
)

func (f *fakeNode) SetLimits(_ context.Context, req admin.LimitsRequest) (admin.LimitsView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limits = append(f.limits, req)
	return admin.LimitsView{Limits: req.Limits}, f.err
}

func (f *fakeNode) AbortTransfer(_ context.Context, req admin.AbortRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aborts = append(f.aborts, req)
	return f.err
}
