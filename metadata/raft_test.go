package metadata

import "testing"

// A node that votes alone has no leader to wait for, born or started again: it stands
// for election as soon as raft lets it, and has the usual patience when others may vote too.
func TestLoneVoterIsNotPatient(t *testing.T) {
	c := newCluster(t)
	n1 := c.birth("n1", 8)
	for _, begun := range []string{"born", "started again"} {
		if begun != "born" {
			n1.kill()
			n1 = c.start("n1", nil)
		}
		r := n1.store.raft
		if got := r.ReloadableConfig().HeartbeatTimeout; got != r.waits.lease && !r.leads() {
			t.Errorf("%s: it waits %s for a leader, want %s", begun, got, r.waits.lease)
		}
		c.eventually("it leads with the usual patience", func() bool {
			got := r.ReloadableConfig()
			return n1.store.Leading() && got.HeartbeatTimeout == r.waits.heartbeat && got.ElectionTimeout == r.waits.heartbeat
		})
	}
	n2 := c.join("n2", n1)
	n3 := c.join("n3", n1)
	n3.settled(3, 3)
	n2.kill()
	r := c.start("n2", nil).store.raft
	if got := r.ReloadableConfig().HeartbeatTimeout; got != r.waits.heartbeat {
		t.Errorf("one voter of three waits %s for a leader, want %s", got, r.waits.heartbeat)
	}
}
