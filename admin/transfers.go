package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Transferring bounds transfers and gives them up.
type Transferring interface {
	// SetLimits changes what the request names, and returns all limits.
	SetLimits(ctx context.Context, req LimitsRequest) (LimitsView, error)
	// AbortTransfer gives an open session up; what it was for is begun anew.
	AbortTransfer(ctx context.Context, req AbortRequest) error
}

// Limits are what transfers may take from a node. In a request, what is 0 stays as it
// is. A rate of -1 is no limit.
type Limits struct {
	In       int   `json:"in,omitempty"`        // transfers that a node receives at a time
	Out      int   `json:"out,omitempty"`       // transfers that a node sends at a time
	Pair     int   `json:"pair,omitempty"`      // transfers at a time between the same two nodes
	BytesIn  int64 `json:"bytes_in,omitempty"`  // that a node receives in a second
	BytesOut int64 `json:"bytes_out,omitempty"` // that a node sends in a second
}

// LimitsRequest is the body of POST /v1/transfers/limits.
type LimitsRequest struct {
	Node   string `json:"node"`  // name or id; empty: the cluster's, which hold for nodes without their own
	Reset  bool   `json:"reset"` // forget what was said before
	Limits        // what is to change
}

// LimitsView is the limits in force.
type LimitsView struct {
	Limits                   // the cluster's
	Nodes  map[string]Limits `json:"nodes,omitempty"` // by name: of the nodes that have their own
}

// AbortRequest is the body of POST /v1/transfers/abort.
type AbortRequest struct {
	Session string `json:"session"`
	Reason  string `json:"reason"` // for people
}

// EndedView is a transfer that has ended.
type EndedView struct {
	Session   string    `json:"session"`
	Kind      string    `json:"kind"`
	Partition int       `json:"partition"`
	Slot      int       `json:"slot"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Outcome   string    `json:"outcome"`          // committed or aborted
	Reason    string    `json:"reason,omitempty"` // of an abort
	Records   int64     `json:"records"`
	Bytes     int64     `json:"bytes"`
	Started   time.Time `json:"started,omitzero"` // by the clocks of those who began and ended it
	Ended     time.Time `json:"ended,omitzero"`
	Seconds   float64   `json:"seconds"`
}

func (a *api) getLimits(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Transfers(r.Context())
	answerLimits(w, r, view.Limits, err)
}

func (a *api) postLimits(w http.ResponseWriter, r *http.Request) {
	req, err := readLimits(w, r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	a.log.Info("change of transfers' limits asked for", "node", req.Node)
	view, err := a.node.SetLimits(r.Context(), req)
	answerLimits(w, r, view, err)
}

// readLimits reads a LimitsRequest. A limit of 0, which stands for one that is not named,
// may not be named: it would change nothing, and whoever means to hold transfers up by it
// must hear that.
func readLimits(w http.ResponseWriter, r *http.Request) (LimitsRequest, error) {
	var body struct {
		Node     string `json:"node"`
		Reset    bool   `json:"reset"`
		In       *int   `json:"in"`
		Out      *int   `json:"out"`
		Pair     *int   `json:"pair"`
		BytesIn  *int64 `json:"bytes_in"`
		BytesOut *int64 `json:"bytes_out"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return LimitsRequest{}, err
	}
	req := LimitsRequest{Node: body.Node, Reset: body.Reset}
	return req, errors.Join(
		named("in", body.In, &req.In), named("out", body.Out, &req.Out), named("pair", body.Pair, &req.Pair),
		named("bytes_in", body.BytesIn, &req.BytesIn), named("bytes_out", body.BytesOut, &req.BytesOut))
}

// named takes a limit over if it is named.
func named[T int | int64](name string, from, to *T) error {
	switch {
	case from == nil:
		return nil
	case *from == 0:
		return wire.Errorf(wire.BadRequest, "%s is 0: give a number, or reset for the default", name)
	}
	*to = *from
	return nil
}

func answerLimits(w http.ResponseWriter, r *http.Request, view LimitsView, err error) {
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, view)
}

func (a *api) postAbort(w http.ResponseWriter, r *http.Request) {
	var req AbortRequest
	err := readJSON(w, r, &req)
	switch {
	case err != nil:
	case req.Session == "":
		err = wire.Errorf(wire.BadRequest, `which transfer? pass "session" of /v1/transfers`)
	default:
		a.log.Info("abort of a transfer asked for", "transfer", req.Session)
		err = a.node.AbortTransfer(r.Context(), req)
	}
	answerChange(w, r, err)
}
