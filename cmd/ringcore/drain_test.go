package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestDrain: the node that leads is drained through another one, hands leadership over,
// says so, and serves on; resume and a start end it.
func TestDrain(t *testing.T) {
	t.Parallel()
	nodes := recoverable(t, 3)
	ready := func(p *process) (int, string) {
		resp, err := http.Get("http://" + p.http + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	draining := func(p *process, want bool) {
		t.Helper()
		for _, at := range nodes {
			until(t, "all know it", func() error {
				var members []struct {
					Name             string
					Draining, Leader bool
				}
				err := at.get("/v1/members", &members)
				for _, m := range members {
					if m.Name == p.name && (m.Draining != want || want && m.Leader) {
						err = fmt.Errorf("%+v", m)
					}
				}
				return err
			})
		}
		status, body := ready(p)
		if want != (status == http.StatusServiceUnavailable && strings.Contains(body, "is draining")) {
			t.Errorf("ready, draining %t: %d %s", want, status, body)
		}
	}
	if err := putOne(nodes[0], "k", "v"); err != nil {
		t.Fatal(err)
	}
	_, leader, _, err := raftOf(nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(p *process) bool { return p.name == leader })
	drained, other := nodes[i], nodes[(i+1)%3]
	if out := other.ok("node", "drain", leader); !strings.Contains(out, leader+" is draining") {
		t.Errorf("drain: %s", out)
	}
	draining(drained, true)
	until(t, "it serves", func() error { return getOne(drained, "k", "v") })
	if got := drained.ok("kv", "keys"); !strings.Contains(got, "k") {
		t.Errorf("listing through it: %s", got)
	}
	drained.ok("node", "resume")
	draining(drained, false)
	drained.ok("node", "drain")
	draining(drained, true)
	drained.stop()
	drained.again()
	drained.awaitReady()
	draining(drained, false)
	if _, stderr, code := other.ringcore("node", "drain", "nobody"); code != exitFailed || !strings.Contains(stderr, "no member is called nobody") {
		t.Errorf("drain of nobody: exit %d, %s", code, stderr)
	}
}
