package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ringcore/ringcore/metadata/ring"
)

// view is what the client knows of the cluster. It is never changed, only
// replaced by a newer one.
type view struct {
	clusterID string
	check     uint32 // short form of clusterID
	ring      *ring.Ring
	peers     map[ring.NodeID]*peer
	order     []*peer        // the same, by id
	draining  map[*peer]bool // those that are about to stop
}

// clusterState is what the client reads of the JSON that answers OpRing.
type clusterState struct {
	ClusterID string     `json:"cluster_id"`
	Epoch     ring.Epoch `json:"epoch"`
	Ring      *ring.Ring `json:"ring"`
	Members   []struct {
		ID       ring.NodeID `json:"id"`
		Name     string      `json:"name"`
		Addr     string      `json:"addr"`
		Status   string      `json:"status"`
		Draining bool        `json:"draining"`
	} `json:"members"`
}

// statusLeft is the status of a member that is none any more.
const statusLeft = "left"

// parseState reads the answer to OpRing; nil if it is empty: nothing newer is known.
func parseState(body []byte) (*clusterState, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	var s clusterState
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("decode the cluster's state: %w", err)
	}
	if s.Ring == nil || s.ClusterID == "" {
		return nil, errors.New("decode the cluster's state: it has no ring or no cluster id")
	}
	s.Ring = s.Ring.WithEpoch(s.Epoch)
	return &s, nil
}

// newView makes the view of s. It keeps the peers of old that are the same node at
// the same address, with their connections.
func newView(c *Client, s *clusterState, old *view) *view {
	v := &view{clusterID: s.ClusterID, check: check(s.ClusterID), ring: s.Ring, peers: map[ring.NodeID]*peer{}, draining: map[*peer]bool{}}
	for _, m := range s.Members {
		if m.Status == statusLeft || m.Addr == "" {
			continue
		}
		p := newPeer(c, m.ID, m.Name, m.Addr)
		if old != nil {
			if q := old.peers[m.ID]; q != nil && q.name == m.Name && q.addr == m.Addr {
				p = q
			}
		}
		v.peers[m.ID] = p
		v.order = append(v.order, p)
		if m.Draining {
			v.draining[p] = true
		}
	}
	return v
}

// name is a node's name, its id if it is not known.
func (v *view) name(id ring.NodeID) string {
	if p := v.peers[id]; p != nil {
		return p.name
	}
	return string(id)
}
