package ringcore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// Acceptance tests of the original that no other test has in full; docs/acceptance.md says
// which test shows which.

const builtKeys = 1000

// inTurn calls fn for each key, sixteen at a time, and reports the first error.
func inTurn(t *testing.T, keys int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < keys && failed.Load() == nil; i += 16 {
				if err := fn(i); err != nil {
					err = fmt.Errorf("key %d: %w", i, err)
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// agree waits until the nodes are settled, and checks that all know the same ring and just
// these as members, that each has its share, and that every object is read from as many
// replicas as there are.
func agree(t *testing.T, nodes ...*Node) {
	t.Helper()
	settled(t, nodes...)
	for _, n := range nodes {
		eventually(t, n.cfg.Name+" knows what the others know", func() error {
			st, first := n.core.Load().meta.State(), nodes[0].core.Load().meta.State()
			if st.Epoch != first.Epoch {
				return fmt.Errorf("epoch %d, not %d", st.Epoch, first.Epoch)
			}
			here := 0
			for _, m := range st.Members {
				if !m.Gone() {
					here++
				}
			}
			if here != len(nodes) {
				return fmt.Errorf("%d members, not %d", here, len(nodes))
			}
			return nil
		})
		shares, q := owned(n), n.core.Load().meta.Ring().Q()
		for _, m := range nodes {
			if got := shares[m.cfg.Name]; got < q/len(nodes) || got > q/len(nodes)+1 {
				t.Errorf("%s says that %s owns %d of %d partitions", n.cfg.Name, m.cfg.Name, got, q)
			}
		}
	}
	r := wire.Quorum(min(3, len(nodes)))
	inTurn(t, builtKeys, func(i int) error {
		obj, err := nodes[i%len(nodes)].KV().Get(t.Context(), "default", loadKey(i), kv.Options{R: r, Timeout: 30 * time.Second})
		if err == nil && string(obj.Value) != fmt.Sprint("value", i) {
			err = fmt.Errorf("it is %q", obj.Value)
		}
		return err
	})
}

// AT1 (and AT3, AT7): a cluster of four is built one by one, two are stopped and started,
// three leave, and one joins anew under a name that has left. After each step all agree,
// and no object is missing on any replica.
func TestBuiltUpAndTakenDown(t *testing.T) {
	open := func(name, dir string, join ...string) *Node {
		return testNode(t, Config{Name: name, Dir: dir, Replicas: 3, Partitions: 16, Join: join})
	}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
	n := []*Node{open("n1", dirs[0])}
	inTurn(t, builtKeys, func(i int) error {
		return n[0].KV().Put(t.Context(), "default", loadKey(i), fmt.Append(nil, "value", i), kv.Options{Timeout: 30 * time.Second})
	})
	for i := 1; i < 4; i++ {
		n = append(n, open(fmt.Sprint("n", i+1), dirs[i], n[0].Info().Addr))
		agree(t, n...)
	}
	for i := range 2 {
		if err := n[i].Close(); err != nil {
			t.Fatal(err)
		}
		n[i] = open(n[i].cfg.Name, dirs[i])
		for _, x := range n { // the others may not have noticed yet that it is back
			for key := range builtKeys / 20 {
				eventually(t, "all replicas answer "+x.cfg.Name, func() error {
					_, err := x.KV().Get(t.Context(), "default", loadKey(key), kv.Options{R: 3})
					return err
				})
			}
		}
		agree(t, n...)
	}
	for rejoined := false; len(n) > 1; {
		if err := n[len(n)-1].Leave(t.Context(), n[0].cfg.Name); err != nil {
			t.Fatal(err)
		}
		hasLeft(t, n[0], n[1:]...)
		if n = n[1:]; len(n) == 2 && !rejoined {
			rejoined = true
			n = append(n, open("n1", t.TempDir(), n[0].Info().Addr))
			agree(t, n...)
			repairsNothing(t, n[0])
			n = []*Node{n[2], n[0], n[1]} // the one that came back goes first
			continue
		}
		agree(t, n...)
	}
}

// repairsNothing compares every record on all replicas, and finds them the same.
func repairsNothing(t *testing.T, n *Node) {
	t.Helper()
	started, err := (view{n}).Repair(t.Context(), admin.RepairRequest{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "every record is compared", func() error {
		all, err := (view{n}).Repairs(t.Context())
		if err != nil {
			return err
		}
		done := 0
		for _, r := range all.Repairs {
			if r.ID != started.ID {
				continue
			}
			if r.Sent+r.Received > 0 || r.Failed > 0 {
				t.Fatalf("the replicas differ: %+v", r)
			}
			done += r.Done
		}
		if done < started.Partitions {
			return fmt.Errorf("%d of %d partitions", done, started.Partitions)
		}
		return nil
	})
}

// AT6: who joins by a member that has started and cannot decide yet is told so, or waits;
// the retry, its own or the operator's, succeeds when the member can.
func TestJoinByAMemberThatIsNotReady(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	n := []*Node{testNode(t, Config{Name: "n1", Dir: dirs[0], Partitions: 16})}
	for i := 1; i < 3; i++ {
		n = append(n, testNode(t, Config{Name: fmt.Sprint("n", i+1), Dir: dirs[i], Join: []string{n[0].Info().Addr}}))
	}
	settled(t, n...)
	eventually(t, "three vote", func() error {
		voters := 0
		for _, m := range n[0].core.Load().meta.State().Members {
			if m.Voter {
				voters++
			}
		}
		if voters != 3 {
			return fmt.Errorf("%d", voters)
		}
		return nil
	})
	for _, x := range n {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	alone, err := Open(t.Context(), Config{Name: "n1", Dir: dirs[0], Addr: "127.0.0.1:0", OneMachine: true, Logger: testLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = alone.Close() })
	n4 := testNode(t, Config{Name: "n4"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err = n4.Join(ctx, alone.Info().Addr, false); err == nil || strings.TrimSpace(err.Error()) == "" {
		t.Fatalf("joined by a node that has no majority: %v", err)
	}
	t.Log(err)
	n2 := testNode(t, Config{Name: "n2", Dir: dirs[1], Join: []string{alone.Info().Addr}})
	n3 := testNode(t, Config{Name: "n3", Dir: dirs[2], Join: []string{alone.Info().Addr}})
	if !errors.Is(err, &wire.Error{Code: wire.Maybe}) { // else it goes on asking by itself
		if err := n4.Join(t.Context(), alone.Info().Addr, false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "n4 is a member", func() error {
		if m, ok := alone.core.Load().meta.State().MemberByName("n4"); !ok || m.Status != "valid" {
			return fmt.Errorf("it is %q", m.Status)
		}
		return nil
	})
	settled(t, alone, n2, n3, n4)
}

// AT32 and the tutorial's trap 3: keys are deleted while the node that has them is being
// replaced. Each delete answers the value that was there, and none comes back.
func TestDeletesDuringAReplace(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprint("replicas", replicas), func(t *testing.T) {
			const keys = 600
			n1 := testNode(t, Config{Name: "n1", Replicas: replicas, Partitions: 16})
			n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
			settled(t, n1, n2)
			value := strings.Repeat("v", 2000)
			inTurn(t, keys, func(i int) error {
				return n1.KV().Put(t.Context(), "default", loadKey(i), []byte(value), kv.Options{})
			})
			n3 := testNode(t, Config{Name: "n3"})
			if err := n3.StageJoin(t.Context(), n1.Info().Addr, false); err != nil {
				t.Fatal(err)
			}
			if _, err := (view{n1}).SetLimits(t.Context(), admin.LimitsRequest{Limits: admin.Limits{BytesOut: 300_000}}); err != nil {
				t.Fatal(err)
			}
			if _, err := (view{n1}).Change(t.Context(), admin.ChangeRequest{Kind: "replace", Old: "n2", New: "n3"}); err != nil {
				t.Fatal(err)
			}
			plan, err := (view{n1}).Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := (view{n1}).CommitPlan(t.Context(), plan.Plan); err != nil {
				t.Fatal(err)
			}
			eventually(t, "something moves", func() error {
				if len(n1.core.Load().meta.State().Transfers) == 0 {
					return errors.New("nothing")
				}
				return nil
			})
			during := atomic.Int64{}
			inTurn(t, keys, func(i int) error {
				obj, err := n1.KV().Delete(t.Context(), "default", loadKey(i), kv.Options{Timeout: 30 * time.Second})
				if err == nil && string(obj.Value) != value {
					err = fmt.Errorf("the delete answers %q", obj.Value)
				}
				if len(n1.core.Load().meta.State().Transfers) > 0 {
					during.Add(1)
				}
				return err
			})
			if during.Load() < keys/4 {
				t.Errorf("only %d deletes while something moved", during.Load())
			}
			if _, err := (view{n1}).SetLimits(t.Context(), admin.LimitsRequest{Limits: admin.Limits{BytesOut: -1}}); err != nil {
				t.Fatal(err)
			}
			hasLeft(t, n2, n1, n3)
			settled(t, n1, n3)
			for _, n := range []*Node{n1, n3} {
				if why := listed(n, "default", 0); why != "" {
					t.Errorf("listed at %s: %s", n.cfg.Name, why)
				}
			}
			inTurn(t, keys, func(i int) error {
				if _, err := n3.KV().Get(t.Context(), "default", loadKey(i), kv.Options{Timeout: 30 * time.Second}); !errors.Is(err, kv.ErrNotFound) {
					return fmt.Errorf("after its delete: %v", err)
				}
				return nil
			})
		})
	}
}

// The tutorial's trap 5: what fallbacks keep for an owner that is down is listed, and once
// only, also while the owner gets it back.
func TestListsShowWhatFallbacksKeep(t *testing.T) {
	const keys = 300
	n1 := testNode(t, Config{Name: "n1", Replicas: 1, Partitions: 16})
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	dir := t.TempDir()
	n3 := testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
	settled(t, n1, n2, n3)
	if err := n3.Close(); err != nil {
		t.Fatal(err)
	}
	inTurn(t, keys, func(i int) error {
		return n1.KV().Put(t.Context(), "listed", loadKey(i), []byte("v"), kv.Options{Timeout: 30 * time.Second})
	})
	seen := make(map[string]int)
	cover, err := n2.KV().Keys(t.Context(), "listed", kv.Options{}, func(e *kv.Entry) error { seen[string(e.Key)]++; return nil })
	if err != nil || cover.Complete || len(cover.Missing) == 0 {
		t.Errorf("the owner is down, and may have more: %+v, %v", cover, err)
	}
	for i := range keys {
		if got := seen[string(loadKey(i))]; got != 1 {
			t.Errorf("key %d is listed %d times", i, got)
		}
	}
	n3 = testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
	for held := 1; held > 0; { // at least once, and once more when all is delivered
		held = n1.core.Load().vnodes.Holding() + n2.core.Load().vnodes.Holding()
		for _, n := range []*Node{n1, n2, n3} {
			if why := listed(n, "listed", keys); why != "" {
				t.Fatalf("at %s, with %d hint stores: %s", n.cfg.Name, held, why)
			}
		}
	}
}

// AT22, AT33, AT34 on three nodes.
func TestThreeReplicasAcceptance(t *testing.T) {
	nodes := threeNodes(t, Config{Storage: "memory", Partitions: 16})
	keepSiblings(t, nodes[0], "s", true)
	put := func(n *Node, key, value string, o kv.Options) error {
		o.Timeout = 10 * time.Second
		return n.KV().Put(t.Context(), "s", []byte(key), []byte(value), o)
	}

	// AT34: two clients that pass on what they read, in turn, at all nodes.
	var seen [2]kv.Object
	for i := range 100 {
		if err := put(nodes[i%3], "turns", fmt.Sprint(i), kv.Options{Context: seen[i%2].Context}); err != nil {
			t.Fatal(err)
		}
		obj, err := nodes[(i+1)%3].KV().Get(t.Context(), "s", []byte("turns"), kv.Options{})
		if err != nil || len(obj.Siblings) > 2 {
			t.Fatalf("write %d: %d siblings, %v", i, len(obj.Siblings), err)
		}
		seen[1-i%2] = obj
	}

	// AT33, with a tombstone: a replica that has lost its records writes a key that was deleted.
	for i := range 5 {
		if err := put(nodes[2], "dead", fmt.Sprint(i), kv.Options{W: wire.QuorumAll}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes[2].KV().Delete(t.Context(), "s", []byte("dead"), kv.Options{}); err != nil {
		t.Fatal(err)
	}
	lost := nodes[2].cfg
	lost.Join = []string{nodes[0].Info().Addr}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	nodes[2] = testNode(t, lost)
	if err := put(nodes[2], "dead", "again", kv.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		wantShown(t, n, "s", "dead", "again")
	}

	// AT22: with one and two replicas down, by what a request asks for.
	for down := range 3 {
		if down > 0 {
			if err := nodes[3-down].Close(); err != nil {
				t.Fatal(err)
			}
		}
		up := wire.Quorum(3 - down)
		for _, q := range []wire.Quorum{1, 2, 3} {
			eventually(t, fmt.Sprintf("pr=%d and pw=%d with %d up", q, q, up), func() error {
				w := put(nodes[0], "q", "v", kv.Options{W: 1, PW: q})
				_, r := nodes[0].KV().Get(t.Context(), "s", []byte("turns"), kv.Options{R: 1, PR: q, Timeout: 10 * time.Second})
				for _, err := range []error{w, r} {
					if met := err == nil; met != (q <= up) || !met && !errors.Is(err, &wire.Error{Code: wire.QuorumNotMet}) {
						return fmt.Errorf("write: %v; read: %v", w, r)
					}
				}
				return nil
			})
		}
	}
}
