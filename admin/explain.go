package admin

import (
	"cmp"
	"net/http"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// ExplainView is the answer to GET /v1/explain.
type ExplainView struct {
	Bucket    string           `json:"bucket"`
	Key       string           `json:"key"`
	Hash      string           `json:"hash"` // 160 bits in hexadecimal
	Epoch     uint64           `json:"epoch"`
	Partition int              `json:"partition"`
	Index     string           `json:"index"`
	Gen       uint64           `json:"gen"`
	Preflist  []PreflistEntry  `json:"preflist"`
	Props     wire.BucketProps `json:"props"` // of the bucket
	Copies    []CopyView       `json:"copies"`
	Agree     bool             `json:"agree"`   // all slots answered, and hold the same
	Verdict   string           `json:"verdict"` // in a sentence
}

// CopyView is what one node holds of a key, in its slot or as a hint for another node.
type CopyView struct {
	Node    string      `json:"node"`
	Slot    int         `json:"slot"`          // -1: no slot of the ring
	For     string      `json:"for,omitempty"` // of a hint: whose slot it is for
	State   string      `json:"state"`         // of the vnode; empty if it is not known
	Found   bool        `json:"found"`         // there is a record, be it a tombstone
	Deleted bool        `json:"deleted"`       // the record is a tombstone
	Version string      `json:"version,omitempty"`
	Written *time.Time  `json:"written,omitempty"` // as its stamp says
	By      string      `json:"by,omitempty"`      // the node that stamped it
	Bytes   int         `json:"bytes"`             // of the record's value
	Values  []ValueView `json:"values"`            // one, or siblings, the newest first
	Error   string      `json:"error,omitempty"`   // why it is not known what it holds
}

// ValueView is one value of a key.
type ValueView struct {
	Bytes   int        `json:"bytes"`
	Preview string     `json:"preview"`           // its beginning
	Text    bool       `json:"text"`              // else the preview is hexadecimal
	Cut     bool       `json:"cut,omitempty"`     // there is more
	Expires *time.Time `json:"expires"`           // null: never
	Expired bool       `json:"expired,omitempty"` // it reads as absent
}

func (a *api) getExplain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("key") == "" {
		problem.Write(w, r, wire.Errorf(wire.BadRequest, "which key? pass ?key=K"))
		return
	}
	view, err := a.node.Explain(r.Context(), cmp.Or(q.Get("bucket"), defaultBucket), []byte(q.Get("key")))
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Preflist, view.Copies = orEmpty(view.Preflist), orEmpty(view.Copies)
	for i := range view.Copies {
		view.Copies[i].Values = orEmpty(view.Copies[i].Values)
	}
	writeJSON(w, http.StatusOK, view)
}
