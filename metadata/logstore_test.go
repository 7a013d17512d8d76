package metadata

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// hangingDisk is a disk whose writes wait while it hangs.
type hangingDisk struct {
	raftDisk
	mu   sync.Mutex
	hang chan struct{} // nil unless it hangs
}

func (h *hangingDisk) wait() {
	h.mu.Lock()
	hang := h.hang
	h.mu.Unlock()
	if hang != nil {
		<-hang
	}
}

func (h *hangingDisk) StoreLogs(logs []*raft.Log) error {
	h.wait()
	return h.raftDisk.StoreLogs(logs)
}

func (h *hangingDisk) StoreLog(l *raft.Log) error { return h.StoreLogs([]*raft.Log{l}) }

func (h *hangingDisk) Set(key, value []byte) error {
	h.wait()
	return h.raftDisk.Set(key, value)
}

func (h *hangingDisk) SetUint64(key []byte, value uint64) error {
	h.wait()
	return h.raftDisk.SetUint64(key, value)
}

// stall makes writes hang until the function that it returns is called.
func (h *hangingDisk) stall() (release func()) {
	hang := make(chan struct{})
	h.mu.Lock()
	h.hang = hang
	h.mu.Unlock()
	return sync.OnceFunc(func() {
		h.mu.Lock()
		h.hang = nil
		h.mu.Unlock()
		close(hang)
	})
}

// TestBoundedLogs: a write that hangs fails in time, leaves nothing behind, and lets
// nothing pass it.
func TestBoundedLogs(t *testing.T) {
	hanging := &hangingDisk{raftDisk: raft.NewInmemStore()}
	b := newBoundedLogs(hanging, 20*time.Millisecond, slog.New(slog.DiscardHandler))
	entry := func(index, term uint64) *raft.Log { return &raft.Log{Index: index, Term: term} }
	if err := b.StoreLogs([]*raft.Log{entry(1, 1), entry(2, 1)}); err != nil {
		t.Fatal(err)
	}
	release := hanging.stall()
	if err := b.StoreLogs([]*raft.Log{entry(3, 1), entry(4, 1)}); !errors.Is(err, errHungDisk) {
		t.Fatalf("a write that hangs: %v", err)
	}
	if err := b.StoreLog(entry(3, 2)); !errors.Is(err, errHungDisk) {
		t.Fatalf("a write behind it: %v", err)
	}
	release()
	b.wait()
	if last, err := b.LastIndex(); last != 2 || err != nil {
		t.Fatalf("last index %d, %v; want what was acknowledged, 2", last, err)
	}
	if err := b.StoreLog(entry(3, 2)); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := b.GetLog(3, &l); err != nil || l.Term != 2 {
		t.Errorf("entry 3 is of term %d, %v", l.Term, err)
	}
}

// TestLeaderWithStalledDisk: it gives up leadership in bounded time, the others go on,
// and it follows them when its disk is back.
func TestLeaderWithStalledDisk(t *testing.T) {
	c := newCluster(t)
	disks := make(map[string]*hangingDisk)
	c.tune = func(cfg *Config) {
		name := cfg.Self.Name
		cfg.disk = func(d raftDisk) raftDisk {
			disks[name] = &hangingDisk{raftDisk: d}
			return disks[name]
		}
	}
	n1 := c.birth("n1", 8)
	n2 := c.join("n2", n1)
	n3 := c.join("n3", n2)
	n3.settled(3, 3)
	old := c.leader()
	release := disks[nodeName(old.id)].stall()
	t.Cleanup(release) // before the Store closes
	begun := time.Now()
	if err := old.store.Propose(t.Context(), Down(n3.id)); err != nil {
		t.Fatalf("through the leader whose disk hangs: %v", err)
	}
	took := time.Since(begun)
	t.Logf("committed by another leader after %v", took)
	if limit := 4 * (old.store.waits.hung + 2*old.store.waits.heartbeat); took > limit {
		t.Errorf("it took %v, longer than %v", took, limit)
	}
	var fresh *node
	c.eventually("another leader", func() bool {
		for _, n := range c.all() {
			if n != old && n.store.raft.leads() {
				fresh = n
			}
		}
		return fresh != nil
	})
	if old.store.raft.leads() || old.store.Leading() {
		t.Error("the old one still believes that it leads")
	}
	release()
	if err := fresh.store.Propose(t.Context(), Up(n3.id)); err != nil {
		t.Fatal(err)
	}
	old.status(n3.id, StatusValid)
	c.eventually("its log as long as the others'", func() bool {
		return old.store.raft.AppliedIndex() >= fresh.store.raft.AppliedIndex()
	})
}

// TestDeadVoter: after a while another member votes in its place. It stays a member, and
// learns when it is back that it does not vote. While a majority is missing nothing changes.
func TestDeadVoter(t *testing.T) {
	c := newCluster(t)
	c.tune = func(cfg *Config) { cfg.VoterPatience = 200 * time.Millisecond }
	n1 := c.birth("n1", 8)
	for _, name := range []string{"n2", "n3", "n4"} {
		c.join(name, n1)
	}
	st := n1.settled(4, 3)
	var dead, spare *node
	for _, n := range c.all() {
		switch m, _ := st.Member(n.id); {
		case !m.Voter:
			spare = n
		case n != c.leader():
			dead = n
		}
	}
	held := st.Holds(dead.id)
	dead.kill()
	spare.await("its vote", func(s *State) bool { m, _ := s.Member(spare.id); return m.Voter })
	st = spare.await("three voters", func(s *State) bool { return len(voterFlags(s)) == 3 })
	if m, _ := st.Member(dead.id); m.Voter || m.Status != StatusValid || st.Holds(dead.id) != held {
		t.Errorf("the dead one: voter %t, %s, holds %d of %d slots", m.Voter, m.Status, st.Holds(dead.id), held)
	}
	back := c.start(nodeName(dead.id), nil)
	c.eventually("it does not vote by its own log, nor listen", func() bool {
		voters, _, err := back.store.raft.servers()
		_, listeners, lerr := c.leader().store.raft.servers()
		return err == nil && lerr == nil && len(voters) == 3 && !slices.Contains(voters, back.id) && len(listeners) == 0
	})
	// Two more die: one voter of three is left, and nobody's vote is touched.
	var left *node
	for _, n := range c.all() {
		if m, _ := spare.store.State().Member(n.id); m.Voter && left == nil {
			left = n
		} else if m.Voter {
			n.kill()
		}
	}
	voters := voterFlags(left.store.State())
	c.eventually("no leader", func() bool { return !left.store.raft.leads() })
	if got := voterFlags(left.store.State()); len(got) != len(voters) {
		t.Errorf("voters %v, were %v", got, voters)
	}
}
