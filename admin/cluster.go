package admin

import (
	"net/http"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// committed is the answer to a change that took effect at once.
type committed struct {
	Committed bool `json:"committed"`
}

func (a *api) postJoin(w http.ResponseWriter, r *http.Request) {
	var req JoinRequest
	err := readJSON(w, r, &req)
	switch {
	case err != nil:
	case req.Seed == "":
		err = wire.Errorf(wire.BadRequest, `whom to join? pass "seed":"host:port" of any member`)
	default:
		a.log.Info("join asked for", "peer", req.Seed)
		err = a.node.Join(r.Context(), req)
	}
	answerStaged(w, r, req.Commit, "", err)
}

func answerChange(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, committed{true})
}
