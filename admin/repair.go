package admin

import (
	"net/http"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
)

// RepairRequest is the body of POST /v1/repair: one partition, all of a node's, or,
// with neither, all.
type RepairRequest struct {
	Partition *int   `json:"partition,omitempty"`
	Node      string `json:"node,omitempty"` // name or id
}

// RepairStarted is the answer to POST /v1/repair.
type RepairStarted struct {
	ID         string   `json:"id"`
	Partitions int      `json:"partitions"` // that are being repaired
	Nodes      []string `json:"nodes"`      // that do so, each a part of them
	Skipped    []int    `json:"skipped"`    // partitions of which no replica could be reached
}

// RepairsView is the answer to GET /v1/repairs.
type RepairsView struct {
	Repairs  []RepairView   `json:"repairs"`  // the newest first
	Compared []ComparedView `json:"compared"` // by partition
}

// RepairView is one node's part of a repair.
type RepairView struct {
	ID         string     `json:"id"`
	Node       string     `json:"node"`
	Partitions int        `json:"partitions"` // its part
	Done       int        `json:"done"`       // of those
	Failed     int        `json:"failed"`     // of those done: not compared with every replica that was up
	Started    time.Time  `json:"started"`
	Ended      *time.Time `json:"ended"`     // null while it runs
	Compared   int64      `json:"compared"`  // records
	Sent       int64      `json:"sent"`      // records that another replica lacked or had older
	Received   int64      `json:"received"`  // records that this node's replica did
	Unreached  []string   `json:"unreached"` // nodes whose replicas were down or catching up
	Errors     []string   `json:"errors"`    // the first few
}

// ComparedView says when a node last compared its replica of a partition with all
// others that were up.
type ComparedView struct {
	Partition int        `json:"partition"`
	Node      string     `json:"node"`
	At        time.Time  `json:"at"`
	Floor     *time.Time `json:"floor"` // up to which all replicas have had the same; null if that is not known
}

func (a *api) postRepair(w http.ResponseWriter, r *http.Request) {
	var req RepairRequest
	if err := readJSON(w, r, &req); err != nil {
		problem.Write(w, r, err)
		return
	}
	started, err := a.node.Repair(r.Context(), req)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	a.log.Info("repair begun", "repair", started.ID, "items", started.Partitions)
	started.Nodes, started.Skipped = orEmpty(started.Nodes), orEmpty(started.Skipped)
	writeJSON(w, http.StatusAccepted, started)
}

func (a *api) getRepairs(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Repairs(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Repairs, view.Compared = orEmpty(view.Repairs), orEmpty(view.Compared)
	for i := range view.Repairs {
		r := &view.Repairs[i]
		r.Unreached, r.Errors = orEmpty(r.Unreached), orEmpty(r.Errors)
	}
	writeJSON(w, http.StatusOK, view)
}
