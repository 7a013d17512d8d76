package admin

import (
	"net/http"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// BucketView is one entry of the answer to GET /v1/buckets.
type BucketView struct {
	Bucket string `json:"bucket"`
	wire.BucketProps
}

func (a *api) getBuckets(w http.ResponseWriter, r *http.Request) {
	buckets, err := a.node.Buckets(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, orEmpty(buckets))
}

func (a *api) getBucket(w http.ResponseWriter, r *http.Request) {
	props, err := a.node.Bucket(r.Context(), r.PathValue("bucket"))
	answerBucket(w, r, props, err)
}

func (a *api) putBucket(w http.ResponseWriter, r *http.Request) {
	var change wire.BucketChange
	if err := readJSON(w, r, &change); err != nil {
		problem.Write(w, r, err)
		return
	}
	name := r.PathValue("bucket")
	a.log.Info("change of a bucket asked for", "bucket", name)
	props, err := a.node.SetBucket(r.Context(), name, change)
	answerBucket(w, r, props, err)
}

func answerBucket(w http.ResponseWriter, r *http.Request, props wire.BucketProps, err error) {
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, props)
}
