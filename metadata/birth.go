package metadata

import (
	"crypto/rand"
	"encoding/hex"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	clusterIDSize = 16 // bytes, written as hexadecimal digits
	gossipKeySize = 32 // bytes
)

// Birth is the first State of a new cluster whose only member is self: q
// partitions, n replicas wanted, a random cluster id and gossip key. q must
// satisfy ring.ValidPartitions, n be 1 to ring.MaxReplicas.
func Birth(self Member, q, n int) *State {
	key := make([]byte, gossipKeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	self = claiming(self)
	self.Status, self.Voter, self.Weight = StatusValid, true, max(self.Weight, 1)
	r := ring.New(q, n, self.ID)
	return &State{
		Format: CommandVersion, ClusterID: randomHex(clusterIDSize), GossipKey: key,
		Epoch: r.Epoch, Ring: r, Members: []Member{self}, Roster: r.Epoch, Planned: r.Epoch,
	}
}

// randomHex draws n random bytes, written as 2n hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// founded reports whether s is the State that Birth or Recovered makes for id: only
// then may a node bootstrap raft.
func (s *State) founded(id ring.NodeID) bool {
	return s.Epoch == ring.FirstEpoch(s.Generation().N) && slices.Equal(voterFlags(s), []ring.NodeID{id})
}
