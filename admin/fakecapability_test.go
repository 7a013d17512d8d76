package admin_test

import (
	"context"

	"github.com/ringcore/ringcore/admin"
)

func (f *fakeNode) Capabilities(context.Context) ([]admin.CapabilityView, error) {
	return []admin.CapabilityView{
		{Name: "kv.objects", InUse: 1, Common: 1, Lasting: true, Members: map[string]int{"n1": 2, "n2": 1}, HeldBackBy: []string{"n2"}},
		{Name: "metadata", InUse: 2, Common: 2, Lasting: true, Members: map[string]int{"n1": 2, "n2": 2}},
	}, f.fail()
}
