package admin

import (
	"context"
	"net/http"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Plans stage changes of the cluster and commit them. All but Plan return when that is
// committed by raft, or with wire.Maybe or wire.Deadline if ctx ends while it may happen.
type Plans interface {
	// Change stages a change, or makes it at once, and returns the hash of the plan then.
	Change(ctx context.Context, req ChangeRequest) (hash string, err error)
	// Plan tells what the staged changes would do.
	Plan(ctx context.Context) (PlanView, error)
	// CommitPlan makes the staged changes, if the plan is still the one with that hash.
	CommitPlan(ctx context.Context, hash string) error
	// ClearPlan forgets the staged changes.
	ClearPlan(ctx context.Context) error
}

// ChangeRequest is the body of POST /v1/cluster/… for all changes but join.
type ChangeRequest struct {
	Kind     string  `json:"-"`                  // the last part of the path: leave, down, replace, set …
	Node     string  `json:"node,omitempty"`     // name or id, like those that follow
	Old      string  `json:"old,omitempty"`      // of replace and force-replace: who goes
	New      string  `json:"new,omitempty"`      // of those two: who gets its places
	Weight   *int    `json:"weight,omitempty"`   // of set, which takes one of these three
	Zone     *string `json:"zone,omitempty"`     // of set
	Replicas *int    `json:"replicas,omitempty"` // of set: of the whole cluster

	Partitions *int `json:"partitions,omitempty"` // always refused, with the reason
	Commit     bool `json:"commit"`               // at once, not staged; a staged plan stays as it is

	Stopped    *bool `json:"stopped,omitempty"`     // the operator's word that the node which is forced out is stopped; unsaid: it is taken to be if no member sees it
	AcceptLoss bool  `json:"accept_loss,omitempty"` // of a forced change with Commit: also if data is lost for good
}

// PlanView is the answer to GET /v1/cluster/plan.
type PlanView struct {
	Plan      string            `json:"plan"` // hash; empty if nothing is staged
	Changes   []PlanChange      `json:"changes"`
	Members   []PlanMember      `json:"members"`
	Warnings  []string          `json:"warnings"`
	Transfers []PlannedTransfer `json:"transfers"`
	LosesData bool              `json:"loses_data,omitempty"` // for good, as the warnings say
}

// PlanChange is a staged change.
type PlanChange struct {
	Kind     string `json:"kind"`
	Node     string `json:"node,omitempty"`
	New      string `json:"new,omitempty"`
	Weight   int    `json:"weight,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Replicas int    `json:"replicas,omitempty"`
	About    string `json:"about"` // all of that in words
}

// PlanMember is a member now, and when all transfers of the plan are done.
type PlanMember struct {
	Name string   `json:"name"`
	ID   string   `json:"id"`
	Up   bool     `json:"up"`
	Now  PlanSide `json:"now"`
	Then PlanSide `json:"then"`
}

// PlanSide is one of the two.
type PlanSide struct {
	Status string  `json:"status"`
	Zone   string  `json:"zone"`
	Weight int     `json:"weight"`
	Owned  int     `json:"owned"`
	Slots  int     `json:"slots"`
	Share  float64 `json:"share"` // of all slots, in percent
}

// PlannedTransfer are the steps of one kind between two nodes.
type PlannedTransfer struct {
	Kind       string `json:"kind"` // move, add, swap or drop
	From       string `json:"from"` // empty for add, which takes from all other replicas
	To         string `json:"to"`   // empty for drop
	Partitions int    `json:"partitions"`
	Records    *int64 `json:"records"` // null: not known, a node that holds them did not tell
	Bytes      *int64 `json:"bytes"`
}

// commitRequest is the body of POST /v1/cluster/commit.
type commitRequest struct {
	Plan string `json:"plan"` // hash, as GET /v1/cluster/plan shows it
}

// cleared is the answer to DELETE /v1/cluster/plan.
type cleared struct {
	Cleared bool `json:"cleared"`
}

// staged is the answer to a change that was staged.
type staged struct {
	Committed bool   `json:"committed"`
	Staged    bool   `json:"staged"`
	Plan      string `json:"plan"`
}

// planRoutes are those of Plans.
func (a *api) planRoutes() []route {
	return []route{
		{"POST", "/v1/cluster/leave", `{"node":"n2"}: a member hands off and leaves; staged, unless "commit":true`, a.postChange("leave")},
		{"POST", "/v1/cluster/down", `{"node":"n2"}: a member cannot be reached`, a.postChange("down")},
		{"POST", "/v1/cluster/replace", `{"old":"n2","new":"n4"}: n4 gets n2's places, and n2 leaves`, a.postChange("replace")},
		{"POST", "/v1/cluster/force-remove", `{"node":"n2","stopped":true}: a lost member goes without handing off; "accept_loss":true if data goes with it`, a.postChange("force-remove")},
		{"POST", "/v1/cluster/force-replace", `{"old":"n2","new":"n4","stopped":true}: likewise, and n4 gets its places`, a.postChange("force-replace")},
		{"POST", "/v1/cluster/set", `{"node":"n2","weight":2}, {"node":"n2","zone":"b"} or {"replicas":3}: sets one of these`, a.postChange("set")},
		{"GET", "/v1/cluster/plan", "what the staged changes would do", a.getPlan},
		{"DELETE", "/v1/cluster/plan", "forgets the staged changes", a.deletePlan},
		{"POST", "/v1/cluster/commit", `{"plan":"hash"}: makes the staged changes`, a.postCommit},
	}
}

func (a *api) postChange(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := ChangeRequest{}
		err := readJSON(w, r, &req)
		req.Kind = kind
		if err == nil {
			err = req.check()
		}
		var hash string
		if err == nil {
			a.log.Info("change asked for", "kind", kind, "node", req.Node+req.Old)
			hash, err = a.node.Change(r.Context(), req)
		}
		answerStaged(w, r, req.Commit, hash, err)
	}
}

// check refuses a request that lacks what its kind needs.
func (c *ChangeRequest) check() error {
	switch c.Kind {
	case "set":
		return c.checkSet()
	case "replace", "force-replace":
		if c.Old == "" || c.New == "" {
			return wire.Errorf(wire.BadRequest, `who goes, and who gets its places? pass "old":"name" and "new":"name"`)
		}
	default:
		if c.Node == "" {
			return wire.Errorf(wire.BadRequest, `which member? pass "node":"name"`)
		}
	}
	return nil
}

func (c *ChangeRequest) checkSet() error {
	if c.Partitions != nil {
		return wire.Errorf(wire.Refused, "the number of partitions is fixed when a cluster is born, and cannot be changed yet: to have another, make a new cluster and copy the data")
	}
	given := 0
	for _, is := range []bool{c.Weight != nil, c.Zone != nil, c.Replicas != nil} {
		if is {
			given++
		}
	}
	if given != 1 || (c.Replicas == nil) != (c.Node != "") {
		return wire.Errorf(wire.BadRequest, `set one thing: "node" with "weight" or "zone", or "replicas"`)
	}
	return nil
}

func answerStaged(w http.ResponseWriter, r *http.Request, commit bool, hash string, err error) {
	switch {
	case err != nil:
		problem.Write(w, r, err)
	case commit:
		writeJSON(w, http.StatusOK, committed{true})
	default:
		writeJSON(w, http.StatusOK, staged{Staged: true, Plan: hash})
	}
}

func (a *api) getPlan(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Plan(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Changes, view.Members = orEmpty(view.Changes), orEmpty(view.Members)
	view.Warnings, view.Transfers = orEmpty(view.Warnings), orEmpty(view.Transfers)
	writeJSON(w, http.StatusOK, view)
}

func (a *api) deletePlan(w http.ResponseWriter, r *http.Request) {
	if err := a.node.ClearPlan(r.Context()); err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, cleared{true})
}

func (a *api) postCommit(w http.ResponseWriter, r *http.Request) {
	var req commitRequest
	err := readJSON(w, r, &req)
	switch {
	case err != nil:
	case req.Plan == "":
		err = wire.Errorf(wire.BadRequest, `which plan? pass "plan":"hash" as GET /v1/cluster/plan shows it`)
	default:
		a.log.Info("commit of the plan asked for", "plan", req.Plan)
		err = a.node.CommitPlan(r.Context(), req.Plan)
	}
	answerChange(w, r, err)
}
