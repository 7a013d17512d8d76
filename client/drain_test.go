package client

import (
	"encoding/json"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// TestPickDraining: a node that is about to stop is asked after the other replicas, and
// before nodes that hold nothing of the partition.
func TestPickDraining(t *testing.T) {
	state, err := json.Marshal(map[string]any{
		"cluster_id": "c", "epoch": 1, "ring": *ring.New(8, 2, "a"),
		"members": []map[string]any{{"id": "a", "addr": "h:1", "draining": true}, {"id": "b", "addr": "h:2"}, {"id": "x", "addr": "h:3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseState(state)
	if err != nil {
		t.Fatal(err)
	}
	for p := range s.Ring.Assignments {
		s.Ring.Assignments[p].Replicas = []ring.Replica{{Node: "a"}, {Node: "b"}}
	}
	v := newView(&Client{}, s, nil)
	var order string
	var tried []*peer
	for range 3 {
		q := v.pick(0, tried)
		tried = append(tried, q)
		order += string(q.id)
	}
	if order != "bax" {
		t.Errorf("asked in the order %s", order)
	}
}
