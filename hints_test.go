package ringcore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// The tutorial's hinted handoff example: the owner of some keys dies, they are
// written again, read, and the owner returns.
func TestWritesForADeadNodeReachItWhenItReturns(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint("replicas", replicas), func(t *testing.T) {
			n1 := testNode(t, Config{Name: "n1", Replicas: replicas})
			n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
			dir := t.TempDir()
			n3 := testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
			settled(t, n1, n2, n3)
			for i := range 100 {
				mustPut(t, n1, fmt.Sprint("key", i), "old")
			}
			if err := n3.Close(); err != nil {
				t.Fatal(err)
			}
			gone := func(key string) bool {
				r := n1.core.Load().meta.Ring()
				return r.Owner(ring.Locate(ring.HashKey("default", []byte(key)), r.Q())) == n3.id.NodeID
			}
			lost := 0
			for i := range 100 {
				key := fmt.Sprint("key", i)
				if replicas == 1 && gone(key) && lost < 5 {
					lost++
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					_, err := n1.KV().Get(ctx, "default", []byte(key), kv.Options{})
					cancel()
					if !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
						t.Fatalf("get %s, whose only holder is down: %v", key, err)
					}
				}
				mustPut(t, n2, key, "new")
				mustGet(t, n1, key, "new")
			}
			if replicas == 1 && lost == 0 {
				t.Fatal("n3 owned no key")
			}
			n3 = testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
			for _, n := range []*Node{n1, n2, n3} {
				for i := range 100 {
					mustGet(t, n, fmt.Sprint("key", i), "new")
				}
			}
			for _, n := range []*Node{n1, n2} {
				eventually(t, n.cfg.Name+" has delivered its hints", func() error {
					if held := n.core.Load().vnodes.Holding(); held > 0 {
						return fmt.Errorf("%d hint stores", held)
					}
					return nil
				})
			}
			if replicas == 1 {
				return
			}
			// With a read of one replica, the returned node's own copies are seen.
			for i := range 100 {
				key := fmt.Sprint("key", i)
				obj, err := n3.KV().Get(t.Context(), "default", []byte(key), kv.Options{R: 1})
				if err != nil || string(obj.Value) != "new" {
					t.Fatalf("own copy of %s: %q, %v", key, obj.Value, err)
				}
			}
		})
	}
}
