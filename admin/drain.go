package admin

import (
	"net/http"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// DrainRequest is the body of POST /v1/node/drain and /v1/node/resume.
type DrainRequest struct {
	Node string `json:"node"` // this node's name or id, if given
}

// drained is the answer.
type drained struct {
	Draining bool `json:"draining"`
}

// postDrain drains this node, or ends that. Another one has to be asked itself.
func (a *api) postDrain(on bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req DrainRequest
		err := readJSON(w, r, &req)
		switch {
		case err != nil:
		case req.Node != "" && req.Node != a.node.Name():
			err = wire.Errorf(wire.Refused, "this is node %s: ask %s itself, at its http address in /v1/members", a.node.Name(), req.Node)
		default:
			a.log.Info("drain asked for", "node", a.node.Name(), "draining", on)
			err = a.node.Drain(r.Context(), on)
		}
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, drained{on})
	}
}
