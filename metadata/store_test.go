package metadata

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// grow makes a settled cluster of the names, born of the first.
func grow(t *testing.T, q int, names ...string) (*cluster, []*node) {
	t.Helper()
	c := newCluster(t)
	nodes := []*node{c.birth(names[0], q)}
	for _, name := range names[1:] {
		nodes = append(nodes, c.join(name, nodes[len(nodes)-1]))
	}
	for _, n := range nodes {
		n.settled(len(names), votersFor(len(names)))
	}
	return c, nodes
}

// TestGrow: one, three, five and seven nodes; all see the same ring.
func TestGrow(t *testing.T) {
	c, nodes := grow(t, 64, "n1", "n2", "n3")
	for _, name := range []string{"n4", "n5", "n6", "n7"} {
		nodes = append(nodes, c.join(name, nodes[1]))
	}
	last := nodes[6].settled(7, 5)
	for _, n := range nodes {
		if err := n.store.WaitEpoch(t.Context(), last.Epoch); err != nil {
			t.Fatal(err)
		}
	}
	for id, s := range ring.Shares(last.Ring) {
		if s.Slots < 26 || s.Slots > 29 { // 192 over 7
			t.Errorf("%s holds %d slots", id, s.Slots)
		}
	}
	if last.Target != nil || last.Ring.Epoch != last.Epoch {
		t.Errorf("epoch %d, ring %d, target %v", last.Epoch, last.Ring.Epoch, last.Target)
	}
}

// TestJoinsSettleFast: empty vnodes move in much less than the two seconds promised;
// the bound here is generous for a loaded machine.
func TestJoinsSettleFast(t *testing.T) {
	c := newCluster(t)
	n1 := c.birth("n1", 64)
	c.leader()
	begun := time.Now()
	n2 := c.join("n2", n1)
	n3 := c.join("n3", n2)
	n3.settled(3, 3)
	elapsed := time.Since(begun)
	t.Logf("settled after %v, epoch %d", elapsed, n3.store.State().Epoch)
	if elapsed > 10*time.Second {
		t.Errorf("settled after %v", elapsed)
	}
}

// TestRestartServesAtOnce: State is there before raft elects anybody, and nothing is lost.
func TestRestartServesAtOnce(t *testing.T) {
	c, nodes := grow(t, 16, "n1", "n2", "n3", "n4")
	epoch := nodes[0].store.State().Epoch
	cluster := nodes[0].store.State().ClusterID
	if err := nodes[0].store.raft.Snapshot().Error(); err != nil { // one starts from a snapshot, the others from the log
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.kill()
	}
	n4 := c.start("n4", nil)
	st := n4.store.State()
	if st.Epoch != epoch || st.ClusterID != cluster || len(st.Members) != 4 {
		t.Fatalf("epoch %d of %s with %d members, want %d of %s", st.Epoch, st.ClusterID, len(st.Members), epoch, cluster)
	}
	if _, ok := n4.store.Leader(); ok {
		t.Error("there is a leader already")
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		c.start(name, nil)
	}
	if err := n4.store.Propose(t.Context(), Down(nodeID("n4"))); err != nil {
		t.Fatal(err)
	}
	if got := n4.store.State().Epoch; got <= epoch {
		t.Errorf("epoch %d after a command, was %d", got, epoch)
	}
}

// TestLeaderDies: another takes over, and proposals of followers go on, also of
// one that is outside raft.
func TestLeaderDies(t *testing.T) {
	c, _ := grow(t, 16, "n1", "n2", "n3", "n4")
	dead := c.leader()
	dead.kill()
	for i, n := range c.all() {
		cmd := Down(dead.id)
		if i%2 == 1 {
			cmd = Up(dead.id)
		}
		if err := n.store.Propose(t.Context(), cmd); err != nil {
			t.Fatalf("%s: %v", n.id, err)
		}
		if n.store.LeaderContact() > patience {
			t.Errorf("%s heard from the leader %v ago", n.id, n.store.LeaderContact())
		}
	}
	if l := c.leader(); l.id == dead.id {
		t.Errorf("%s leads and is dead", l.id)
	}
}

// TestFollowerOutsideRaft: it sees changes by watching, knows the leader, and knows
// how fresh its knowledge is.
func TestFollowerOutsideRaft(t *testing.T) {
	c, nodes := grow(t, 16, "n1", "n2", "n3", "n4")
	var outside *node
	for _, n := range nodes {
		if m, _ := n.store.State().Member(n.id); !m.Voter {
			outside = n
		}
	}
	voters, listeners, err := c.leader().store.raft.servers()
	if err != nil {
		t.Fatal(err)
	}
	if len(voters) != 3 || len(listeners) != 0 || slices.Contains(voters, outside.id) {
		t.Fatalf("voters %v, listeners %v", voters, listeners)
	}
	if err := c.leader().store.Propose(t.Context(), Down(outside.id)); err != nil {
		t.Fatal(err)
	}
	outside.status(outside.id, StatusDown)
	c.eventually("leader known outside", func() bool { id, ok := outside.store.Leader(); return ok && id == c.leader().id })
	c.eventually("fresh contact outside", func() bool { return outside.store.LeaderContact() < 500*time.Millisecond })
	for _, n := range nodes {
		if n != outside {
			n.kill()
		}
	}
	c.eventually("stale contact", func() bool { return outside.store.LeaderContact() > 300*time.Millisecond })
}

// TestLeaderLeaves: it hands over its slots, then leadership, then its vote.
func TestLeaderLeaves(t *testing.T) {
	for _, size := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var names []string
			for i := range size {
				names = append(names, fmt.Sprint("n", i+1))
			}
			c, nodes := grow(t, 16, names...)
			leaver := c.leader()
			other := nodes[0]
			if other == leaver {
				other = nodes[1]
			}
			if err := other.store.Propose(t.Context(), Leave(leaver.id)); err != nil {
				t.Fatal(err)
			}
			leaver.status(leaver.id, StatusLeft)
			other.status(leaver.id, StatusLeft)
			st := other.settled(size-1, votersFor(size-1))
			if n := st.Holds(leaver.id); n > 0 {
				t.Errorf("the leaver holds %d slots", n)
			}
			leaver.kill()
			if err := other.store.Propose(t.Context(), Down(other.id)); err != nil {
				t.Errorf("after the leave: %v", err)
			}
		})
	}
}

// TestDownNodeBlocksNobody: a join goes on as far as it can without a dead node,
// whose open transfers are given up, and ends when the node is back.
func TestDownNodeBlocksNobody(t *testing.T) {
	c, nodes := grow(t, 16, "n1", "n2", "n3", "n4")
	var dead *node
	for _, n := range nodes {
		if m, _ := n.store.State().Member(n.id); !m.Voter {
			dead = n
		}
	}
	dead.stop() // begins nothing more: its transfers stay open
	dead.drives.Wait()
	n5 := c.join("n5", c.leader())
	open := n5.await("transfer that needs the dead node", func(s *State) bool { return openAt(s, dead.id) != "" })
	session := openAt(open, dead.id)
	dead.kill()
	st := n5.await("end of all that can go on", func(s *State) bool {
		return s.Holds(n5.id) > 0 && len(s.Transfers) == 0 && s.Target != nil
	})
	if committed, known := st.Outcome(session); committed || !known {
		t.Errorf("transfer %s: committed %t, known %t; want it aborted", session, committed, known)
	}
	c.start(nodeName(dead.id), nil)
	n5.settled(5, 3)
}

// openAt is an open transfer that id drives, "" if there is none.
func openAt(s *State, id ring.NodeID) string {
	for i := range s.Transfers {
		if s.Transfers[i].Driver() == id {
			return s.Transfers[i].ID
		}
	}
	return ""
}

// TestProposeErrors: what step refuses reaches the proposer as it is.
func TestProposeErrors(t *testing.T) {
	c, nodes := grow(t, 8, "n1", "n2")
	for _, n := range nodes {
		dup := testMember("n1")
		dup.ID = nodeID("n9")
		_, err := n.store.Admit(t.Context(), JoinRequest{Member: dup})
		if !errors.Is(err, &wire.Error{Code: wire.Refused}) || !strings.Contains(err.Error(), "--name") {
			t.Errorf("%s: join of a name in use: %v", n.id, err)
		}
		err = n.store.Propose(t.Context(), Commit(&Transfer{ID: "none"}, n.id))
		if !errors.Is(err, &wire.Error{Code: wire.Conflict}) {
			t.Errorf("%s: commit of no transfer: %v", n.id, err)
		}
		if e, ok := errors.AsType[*wire.Error](err); ok && (e.Epoch == 0 || n.store.State().Epoch < ring.Epoch(e.Epoch)) {
			t.Errorf("%s: refused at epoch %d, state of %d", n.id, e.Epoch, n.store.State().Epoch)
		}
		_, err = n.store.Admit(t.Context(), JoinRequest{ClusterID: "other", Member: testMember("n3")})
		if !errors.Is(err, &wire.Error{Code: wire.WrongCluster}) {
			t.Errorf("%s: join of another cluster: %v", n.id, err)
		}
	}
	leader := c.leader()
	var follower *node
	for _, n := range nodes {
		if n != leader {
			follower = n
		}
	}
	leader.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := follower.store.Propose(ctx, Down(leader.id)); !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
		t.Errorf("without a leader: %v", err)
	}
	if err := follower.store.Fetch(t.Context(), 1<<62, leader.id); !errors.Is(err, &wire.Error{Code: wire.Behind}) {
		t.Errorf("fetch of an epoch that nobody has: %v", err)
	}
}

// TestYield: a leader that is to stop hands over first.
func TestYield(t *testing.T) {
	c, nodes := grow(t, 8, "n1", "n2", "n3")
	old := c.leader()
	if err := old.store.Yield(); err != nil {
		t.Fatal(err)
	}
	c.eventually("other leader", func() bool { return c.leader() != old && !old.store.raft.leads() })
	for _, n := range nodes {
		if n != old {
			continue
		}
		if err := n.store.Yield(); err != nil {
			t.Errorf("one who does not lead: %v", err)
		}
	}
}

// TestClosed: a closed Store answers, and does not hang.
func TestClosed(t *testing.T) {
	_, nodes := grow(t, 8, "n1")
	s := nodes[0].store
	nodes[0].kill()
	if err := s.Propose(t.Context(), Leave("x")); !errors.Is(err, &wire.Error{Code: wire.ShuttingDown}) {
		t.Errorf("propose: %v", err)
	}
	if err := s.WaitEpoch(t.Context(), 1<<62); !errors.Is(err, &wire.Error{Code: wire.ShuttingDown}) {
		t.Errorf("wait: %v", err)
	}
	if s.State() == nil {
		t.Error("no state")
	}
}

// TestServe: who is no member gets no key and no ear.
func TestServe(t *testing.T) {
	_, nodes := grow(t, 8, "n1", "n2")
	s := nodes[0].store
	public, err := s.Serve(t.Context(), wire.OpRing, "", 0, nil)
	if err != nil || strings.Contains(string(public), "gossip_key") || !strings.Contains(string(public), s.State().ClusterID) {
		t.Errorf("a client gets %q, %v", public, err)
	}
	full, err := s.Serve(t.Context(), wire.OpRing, nodes[1].id, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := Decode(full); err != nil || st.Epoch != s.State().Epoch {
		t.Errorf("a member gets epoch %v, %v", st, err)
	}
	if b, err := s.Serve(t.Context(), wire.OpRing, nodes[1].id, uint64(s.State().Epoch), nil); len(b) > 0 || err != nil {
		t.Errorf("nothing newer: %q, %v", b, err)
	}
	for _, c := range []struct {
		op   wire.Op
		from ring.NodeID
		code wire.Code
	}{
		{wire.OpWatch, "stranger", wire.NotMember},
		{wire.OpPropose, "stranger", wire.NotMember},
		{wire.OpPropose, nodes[1].id, wire.BadRequest},
		{wire.OpWatch, nodes[1].id, wire.BadRequest},
		{wire.OpJoin, "", wire.BadRequest},
		{wire.OpPing, "", wire.BadRequest},
	} {
		if _, err := s.Serve(t.Context(), c.op, c.from, 0, []byte("{")); !errors.Is(err, &wire.Error{Code: c.code}) {
			t.Errorf("op %d from %q: %v, want %v", c.op, c.from, err, c.code)
		}
	}
}

// TestLearn: only what is newer, and of this cluster.
func TestLearn(t *testing.T) {
	_, nodes := grow(t, 8, "n1")
	s := nodes[0].store
	old := s.State()
	foreign, err := Birth(testMember("n1"), 8, 3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Learn(foreign); !errors.Is(err, &wire.Error{Code: wire.WrongCluster}) {
		t.Errorf("another cluster's: %v", err)
	}
	same, err := old.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Learn(same); err != nil || s.State() != old {
		t.Errorf("the same again: %v, replaced %t", err, s.State() != old)
	}
	if err := s.Learn([]byte("x")); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
		t.Errorf("rubbish: %v", err)
	}
	newer := *old
	newer.Epoch++
	newer.Ring = newer.Ring.WithEpoch(newer.Epoch)
	b, err := newer.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Learn(b); err != nil || s.State().Epoch != newer.Epoch {
		t.Errorf("newer: %v, epoch %d", err, s.State().Epoch)
	}
}

// TestNewAddresses: a node that comes back elsewhere tells the cluster.
func TestNewAddresses(t *testing.T) {
	c, nodes := grow(t, 8, "n1", "n2")
	nodes[1].kill()
	moved := testMember("n2")
	moved.Addr = "elsewhere:7"
	n := &node{c: c, id: moved.ID, listener: newPipeListener()}
	s, err := Open(Config{
		Dir: filepath.Join(c.dir, "n2"), Self: moved, Listener: n.listener, Dial: c.dial, Caller: n, Timing: Fast,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.store, n.stop = s, func() {}
	c.mu.Lock()
	c.nodes[n.id] = n
	c.mu.Unlock()
	nodes[0].await("new address", func(s *State) bool { m, _ := s.Member(moved.ID); return m.Addr == moved.Addr })
}

// TestOpenRefuses: what cannot be opened says why.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	open := func(cluster string, first *State) error {
		s, err := Open(Config{
			Dir: dir, ClusterID: cluster, Self: testMember("n1"), Listener: newPipeListener(), Timing: Fast,
		}, first)
		if err == nil {
			err = errors.Join(errors.New("opened"), s.Close())
		}
		return err
	}
	if err := open("", nil); err == nil || !strings.Contains(err.Error(), "nothing to begin with") {
		t.Errorf("empty folder: %v", err)
	}
	first := Birth(testMember("n1"), 8, 3)
	if err := saveState(dir, first); err != nil {
		t.Fatal(err)
	}
	if err := open("other", nil); err == nil || !strings.Contains(err.Error(), "belongs to cluster") {
		t.Errorf("wrong cluster: %v", err)
	}
	if err := open("", Birth(testMember("n1"), 8, 3)); err == nil || !strings.Contains(err.Error(), "belongs to cluster") {
		t.Errorf("another birth: %v", err)
	}
	path := filepath.Join(dir, stateFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 7 {
		bad := slices.Clone(whole)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(dir); !errors.Is(err, ErrCorruptState) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open("", nil); !errors.Is(err, ErrCorruptState) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}
