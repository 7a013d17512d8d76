package admin

import (
	"net/http"

	"github.com/ringcore/ringcore/admin/problem"
)

// CapabilityView is one entry of the answer to GET /v1/capabilities: something that
// nodes of different versions may differ in. Version 0 stands for not at all.
type CapabilityView struct {
	Name       string         `json:"name"`
	InUse      int            `json:"in_use"`  // the version that the cluster goes by
	Common     int            `json:"common"`  // the newest that all members can do
	Lasting    bool           `json:"lasting"` // what is in use stays in use
	Members    map[string]int `json:"members"` // the newest that each can do, by name
	HeldBackBy []string       `json:"held_back_by,omitempty"`
}

func (a *api) getCapabilities(w http.ResponseWriter, r *http.Request) {
	list, err := a.node.Capabilities(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, orEmpty(list))
}
