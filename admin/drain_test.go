package admin_test

import (
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// TestDrain: a node that drains is not ready until it resumes.
func TestDrain(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	for _, step := range []struct {
		path, body string
		ready      int
	}{{"drain", `{}`, 503}, {"drain", `{"node":"n1"}`, 503}, {"resume", `{"node":"n1"}`, 200}} {
		if got := do(t, "POST", base+"/v1/node/"+step.path, step.body); got.status != 200 {
			t.Errorf("%s: %d %s", step.path, got.status, got.body)
		}
		if got := do(t, "GET", base+"/readyz", ""); got.status != step.ready {
			t.Errorf("ready after %s: %d %s", step.path, got.status, got.body)
		}
	}
}
