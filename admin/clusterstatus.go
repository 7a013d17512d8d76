package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/metadata/ring"
)

// StatusView is the answer to GET /v1/cluster/status: one look at the whole, as one node sees it.
type StatusView struct {
	Healthy    bool          `json:"healthy"`
	Reasons    []string      `json:"reasons"` // why not
	Causes     []Cause       `json:"causes"`  // the same, for programs
	ClusterID  string        `json:"cluster_id"`
	Epoch      uint64        `json:"epoch"`
	Partitions int           `json:"partitions"`
	Replicas   int           `json:"replicas"`
	Members    []MemberView  `json:"members"`
	Transfers  TransfersView `json:"transfers"`
	Moving     MovingView    `json:"moving"`
	Waiting    []WaitView    `json:"waiting"`
	Hints      []HintsView   `json:"hints"`
	Live       LiveView      `json:"live"`
	Slots      []SlotsView   `json:"slots"`  // that answer no read, though their node is up
	Checks     []NodeCheck   `json:"checks"` // of the nodes' readiness, that fail
	Silent     []string      `json:"silent"` // members that are up and did not say how they do
	Staged     []string      `json:"staged"` // changes of the plan that is not committed
}

// MovingView adds up the transfers under way.
type MovingView struct {
	Active     int   `json:"active"`
	Waiting    int   `json:"waiting"` // steps that have not begun
	RecordsPer int64 `json:"records_per_s"`
	BytesPerS  int64 `json:"bytes_per_s"`
	ETAS       int64 `json:"eta_s"` // seconds until the last one under way is done; 0 if not known, or if more are to begin
}

// WaitView is what waits for one node, and what helps.
type WaitView struct {
	For        string `json:"for"`        // node name; empty for the leader
	Partitions int    `json:"partitions"` // that cannot move on without it
	About      string `json:"about"`
	Help       string `json:"help"`
}

// HintsView are the hints that are to be delivered to one node.
type HintsView struct {
	For     string   `json:"for"`
	Holders []string `json:"holders"`
	Slots   int      `json:"slots"` // stores of hints, of all holders
	Records int64    `json:"records"`
}

// LiveView says of how many partitions the replicas live: are on a node that is up, and readable.
type LiveView struct {
	Short      int   `json:"short"`      // fewer replicas live than wanted, because a node is not up or no transfer is to add one
	Minority   []int `json:"minority"`   // no majority lives: requests of a majority fail
	Unreadable []int `json:"unreadable"` // none lives
}

// SlotsView are slots of one node that answer no read for one reason.
type SlotsView struct {
	Node       string `json:"node"`
	Service    string `json:"service"`
	State      string `json:"state"` // catching up, waiting or lost
	Reason     string `json:"reason"`
	Partitions []int  `json:"partitions"`
}

// NodeCheck is a check of one node's readiness.
type NodeCheck struct {
	Node string `json:"node"`
	Check
}

func (a *api) getStatus(w http.ResponseWriter, r *http.Request) {
	s, err := a.node.Status(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	s.Assess()
	writeJSON(w, http.StatusOK, s)
}

// Assess adds up what moves, and says what is wrong and what helps. Partitions on the move are
// not wrong, nor are hints on their way, nor what is staged.
func (s *StatusView) Assess() {
	s.fillEmpty()
	s.Moving = MovingView{Active: len(s.Transfers.Active), Waiting: s.Transfers.Waiting}
	for i := range s.Transfers.Active {
		t := &s.Transfers.Active[i]
		s.Moving.BytesPerS += t.BytesPerS
		if t.Bytes > 0 {
			s.Moving.RecordsPer += int64(float64(t.Records) * float64(t.BytesPerS) / float64(t.Bytes))
		}
		if s.Moving.Waiting == 0 {
			s.Moving.ETAS = max(s.Moving.ETAS, t.ETAS)
		}
	}
	leader := slices.ContainsFunc(s.Members, func(m MemberView) bool { return m.Leader })
	if !leader {
		s.waitForLeader()
	}
	s.Causes = s.wrong(leader)
	s.waitForStuck()
	s.Reasons = []string{}
	for _, c := range s.Causes {
		s.Reasons = append(s.Reasons, c.About)
	}
	s.Healthy = len(s.Causes) == 0
	s.waitForMembers()
}

// waitForMembers says what waits for each member that cannot be reached.
func (s *StatusView) waitForMembers() {
	for _, m := range s.Members {
		if m.Up || m.Status == "left" {
			continue
		}
		i := slices.IndexFunc(s.Waiting, func(w WaitView) bool { return w.For == m.Name })
		if i < 0 {
			i = len(s.Waiting)
			s.Waiting = append(s.Waiting, WaitView{For: m.Name})
		}
		w := &s.Waiting[i]
		about := []string{}
		if w.Partitions > 0 {
			about = append(about, counted(w.Partitions, "partition")+" cannot move on without it")
		}
		if m.Status == "leaving" {
			about = append(about, "its leave waits for itself")
		}
		if m.Slots > 0 {
			about = append(about, counted(m.Slots, "replica")+" away until it is back")
		}
		if len(about) == 0 {
			about = append(about, "nothing else waits for it")
		}
		w.About = strings.Join(about, "; ")
		w.Help = fmt.Sprintf("start %s again; if it is lost for good: ringcore cluster force-replace %s NEW, or ringcore cluster force-remove %s", m.Name, m.Name, m.Name)
	}
}

// fillEmpty makes absent lists [] in JSON.
func (s *StatusView) fillEmpty() {
	s.Members, s.Transfers.Active = orEmpty(s.Members), orEmpty(s.Transfers.Active)
	s.Waiting, s.Hints, s.Slots, s.Checks = orEmpty(s.Waiting), orEmpty(s.Hints), orEmpty(s.Slots), orEmpty(s.Checks)
	s.Silent, s.Staged = orEmpty(s.Silent), orEmpty(s.Staged)
	s.Live.Minority, s.Live.Unreadable = orEmpty(s.Live.Minority), orEmpty(s.Live.Unreadable)
}

// waitForLeader says what every change of the ring waits for, when nobody leads.
func (s *StatusView) waitForLeader() {
	var voters, away []string
	for _, m := range s.Members {
		if m.Voter {
			voters = append(voters, m.Name)
			if !m.Up {
				away = append(away, m.Name)
			}
		}
	}
	w := WaitView{About: "every change of the ring waits for a leader", Help: "one is elected within seconds while most of the voters are up: " + strings.Join(voters, ", ")}
	if 2*len(away) >= len(voters) && len(away) > 0 {
		w.Help = fmt.Sprintf("most of the voters (%s) must be up: start %s again; if they are lost for good: ringcore recover", strings.Join(voters, ", "), strings.Join(away, ", "))
	}
	s.Waiting = append([]WaitView{w}, s.Waiting...)
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Alive says how one partition's replicas do.
type Alive struct {
	Wanted, List, Readable int  // replicas wanted; places in the list; those that are not catching up
	Up, Live               int  // of List, of Readable: those whose node is up
	Moving                 bool // a transfer is to change the list, and all nodes that it needs are up
}

// Count adds partition p.
func (v *LiveView) Count(p int, a Alive) {
	if a.Live < a.Wanted && (a.Up < a.List || !a.Moving) {
		v.Short++
	}
	if a.Up < ring.Majority(a.List) || a.Live < ring.Majority(a.Readable) {
		v.Minority = append(v.Minority, p)
	}
	if a.Live == 0 {
		v.Unreadable = append(v.Unreadable, p)
	}
}
