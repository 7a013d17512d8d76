package ringcore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// forceServices keep fewer replicas than the cluster: when a node goes out of a list
// without handing over, others move up to places of theirs.
func forceServices() []Service {
	return []Service{
		{Name: "one", N: 1, New: func(ring.Partition) vnodes.Vnode { return register{} }},
		{Name: "two", N: 2, New: func(ring.Partition) vnodes.Vnode { return register{} }},
	}
}

const forceKeys = 200

func forceCall(k int) wire.Call {
	return wire.Call{Bucket: "b", Key: fmt.Appendf(nil, "key%d", k), Body: fmt.Appendf(nil, "value%d", k)}
}

// readForced reads a key of a service; found is false if it is not there.
func readForced(t *testing.T, n *Node, service string, k int, r wire.Quorum) (found bool, err error) {
	t.Helper()
	call := forceCall(k)
	want := call.Body
	call.Body, call.Quorum = nil, r
	got, err := n.Query(t.Context(), service, call)
	switch {
	case err != nil || len(got) == 0:
		return false, err
	case !bytes.HasSuffix(got, want):
		t.Fatalf("%s at %s: key %d is %q", service, n.cfg.Name, k, got)
	}
	return true, nil
}

// forceOut removes a node that has been stopped. If that loses data, it has to be accepted.
func forceOut(t *testing.T, at *Node, name string, loses bool) {
	t.Helper()
	req := admin.ChangeRequest{Kind: "force-remove", Node: name, Commit: true}
	if loses {
		eventually(t, name+" is kept, because data would be lost", func() error {
			_, err := (view{at}).Change(t.Context(), req)
			if err == nil {
				t.Fatalf("%s is removed, and nobody has accepted what is lost", name)
			}
			if !errors.Is(err, &wire.Error{Code: wire.DataLoss}) || !strings.Contains(err.Error(), "partitions of service one have no other copy") {
				return err
			}
			return nil
		})
		if m, _ := at.core.Load().meta.State().MemberByName(name); m.Gone() {
			t.Fatalf("%s is gone", name)
		}
		req.AcceptLoss = true
	}
	eventually(t, name+" is forced out", func() error {
		_, err := (view{at}).Change(t.Context(), req)
		return err
	})
}

// TestForceRemoveMovesServicesUp: of a service with two replicas nothing is lost, also on a node that was away
// when it moved up; one with a single replica loses what the lost node alone had, and goes on.
func TestForceRemoveMovesServicesUp(t *testing.T) {
	dirs := map[string]string{}
	open := func(name string, join ...string) *Node {
		if dirs[name] == "" {
			dirs[name] = t.TempDir()
		}
		return testNode(t, Config{Name: name, Dir: dirs[name], Replicas: 3, Partitions: 16, Services: forceServices(), Join: join})
	}
	n1 := open("n1")
	nodes := map[string]*Node{"n1": n1}
	for _, name := range []string{"n2", "n3", "n4"} {
		nodes[name] = open(name, n1.Info().Addr)
		settled(t, nodes[name])
	}
	settled(t, n1, nodes["n2"], nodes["n3"], nodes["n4"])
	for k := range forceKeys {
		for _, service := range []string{"one", "two"} {
			call := forceCall(k)
			call.Quorum = wire.QuorumAll
			if _, err := n1.Command(t.Context(), service, call); err != nil {
				t.Fatalf("%s: key %d: %v", service, k, err)
			}
		}
	}
	// The one outside raft is away for a while; a voter besides n1 is lost.
	var away, lost string
	eventually(t, "three vote", func() error {
		away, lost = "", ""
		voters := 0
		for _, m := range n1.core.Load().meta.State().Members {
			switch {
			case m.Voter && m.Name != "n1":
				lost = m.Name
			case !m.Voter:
				away = m.Name
			}
			if m.Voter {
				voters++
			}
		}
		if voters != 3 || away == "n1" {
			return fmt.Errorf("%d voters, %q does not vote", voters, away)
		}
		return nil
	})
	was := n1.core.Load().meta.Ring()
	lostID := nodes[lost].Info().ID
	for _, name := range []string{away, lost} {
		if err := nodes[name].Close(); err != nil {
			t.Fatal(err)
		}
		delete(nodes, name)
	}
	forceOut(t, n1, lost, true)
	nodes[away] = open(away)
	rest := []*Node{}
	for _, n := range nodes {
		rest = append(rest, n)
	}
	eventually(t, "n1 settles", func() error {
		if st := n1.core.Load().meta.State(); !st.Settled() {
			return fmt.Errorf("not settled")
		}
		return nil
	})
	settled(t, rest...)

	up := 0 // slots of "two" for which the node that was away moved up
	r := n1.core.Load().meta.Ring()
	for p := range was.Assignments {
		p := ring.Partition(p)
		if place := was.Place(p, nodes[away].Info().ID); place == 2 && slices.ContainsFunc(was.Replicas(p, 2), func(x ring.Replica) bool { return x.Node == lostID }) {
			up++
		}
	}
	if up == 0 {
		t.Fatal("the node that was away moved up nowhere: this test shows nothing")
	}
	gone := 0
	for _, n := range rest {
		for k := range forceKeys {
			eventually(t, fmt.Sprintf("key %d of two at %s", k, n.cfg.Name), func() error {
				found, err := readForced(t, n, "two", k, wire.QuorumAll)
				if err == nil && !found {
					t.Fatalf("key %d of two is lost, says %s", k, n.cfg.Name)
				}
				return err
			})
			p := ring.Locate(ring.HashKey("b", forceCall(k).Key), was.Q())
			eventually(t, fmt.Sprintf("key %d of one at %s", k, n.cfg.Name), func() error {
				found, err := readForced(t, n, "one", k, 1)
				if err != nil {
					return err
				}
				if had := was.Owner(p) != lostID; found != had {
					t.Fatalf("key %d of one: found %t, was with %s, is with %s", k, found, was.Owner(p), r.Owner(p))
				}
				if !found {
					gone++
				}
				return nil
			})
		}
	}
	if gone == 0 {
		t.Error("the lost node had no key of its own: this test shows nothing")
	}
	for k := range forceKeys { // each copy by itself
		for _, n := range rest {
			p := ring.Locate(ring.HashKey("b", forceCall(k).Key), r.Q())
			if !slices.ContainsFunc(r.Replicas(p, 2), func(x ring.Replica) bool { return x.Node == n.Info().ID }) {
				continue
			}
			if found, err := readForced(t, n, "two", k, 1); err != nil || !found {
				t.Fatalf("key %d of two at %s: found %t, %v", k, n.cfg.Name, found, err)
			}
		}
	}
}

// TestForcedOutNodeStops: who was forced out learns it when it is started again, and stops.
func TestForcedOutNodeStops(t *testing.T) {
	n1 := testNode(t, Config{Name: "n1", Replicas: 2, Partitions: 16})
	dir := t.TempDir()
	n2 := testNode(t, Config{Name: "n2", Dir: dir, Join: []string{n1.Info().Addr}})
	settled(t, n1, n2)
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	forceOut(t, n1, "n2", false)
	back, err := Open(t.Context(), Config{Name: "n2", Dir: dir, Addr: "127.0.0.1:0", OneMachine: true, Logger: testLogger()})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-back.Done():
	case <-time.After(time.Minute):
		t.Fatal("it runs on")
	}
	if err := back.Err(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("removed from its cluster by force")) {
		t.Errorf("it stopped because of %v", err)
	}
	if _, err := Open(t.Context(), Config{Name: "n2", Dir: dir, Addr: "127.0.0.1:0", Join: []string{n1.Info().Addr}, Logger: testLogger()}); err == nil {
		t.Error("it starts again")
	}
}

// TestReplicasNeedTheServices: the cluster keeps no fewer replicas than a service asks for.
func TestReplicasNeedTheServices(t *testing.T) {
	n1 := testNode(t, Config{Name: "n1", Replicas: 3, Partitions: 16, Services: forceServices()})
	for _, commit := range []bool{false, true} {
		_, err := (view{n1}).Change(t.Context(), admin.ChangeRequest{Kind: "set", Replicas: new(1), Commit: commit})
		if !errors.Is(err, &wire.Error{Code: wire.Refused}) || !bytes.Contains([]byte(err.Error()), []byte("service two")) {
			t.Errorf("commit %t: %v", commit, err)
		}
	}
	if _, err := (view{n1}).Change(t.Context(), admin.ChangeRequest{Kind: "set", Replicas: new(2), Commit: true}); err != nil {
		t.Error(err)
	}
}
