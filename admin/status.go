package admin

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/admin/console"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func (a *api) getIndex(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if console.WantsPage(r) {
		a.console.ServePage(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, a.index)
}

// getConsole answers for the console's files.
func (a *api) getConsole(w http.ResponseWriter, r *http.Request) {
	if !a.console.Serve(w, r) {
		a.missing(w, r)
	}
}

// missing says that there is nothing at r's path: to programs by a problem document, to
// people at a browser by a page, unless they ask the API.
func (a *api) missing(w http.ResponseWriter, r *http.Request) {
	if console.WantsPage(r) && !strings.HasPrefix(r.URL.Path, "/v1/") {
		a.console.ServeMissing(w, r)
		return
	}
	problem.Write(w, r, wire.Errorf(wire.NotFound, "there is no %s; GET / lists what there is", r.URL.Path))
}

func (a *api) getLive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

func (a *api) getReady(w http.ResponseWriter, _ *http.Request) {
	ready, checks := a.node.Ready()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, readiness{Ready: ready, Node: a.node.Name(), Checks: orEmpty(checks)})
}

// getRing answers 304 to one who already knows the epoch.
func (a *api) getRing(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Ring(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	tag := `"` + strconv.FormatUint(view.Epoch, 10) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	view.Owners, view.Gens = orEmpty(view.Owners), orEmpty(view.Gens)
	writeJSON(w, http.StatusOK, view)
}

func (a *api) getMembers(w http.ResponseWriter, r *http.Request) {
	members, err := a.node.Members(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, orEmpty(members))
}

func (a *api) getTransfers(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Transfers(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Active = orEmpty(view.Active)
	writeJSON(w, http.StatusOK, view)
}

func (a *api) getPreflist(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !q.Has("key") {
		problem.Write(w, r, wire.Errorf(wire.BadRequest, "which key? pass ?key=K"))
		return
	}
	n := 0
	if s := q.Get("n"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 || n > ring.MaxReplicas {
			problem.Write(w, r, wire.Errorf(wire.BadRequest, "n is %q; it can be 1 to %d", s, ring.MaxReplicas))
			return
		}
	}
	bucket := q.Get("bucket")
	if bucket == "" {
		bucket = defaultBucket
	}
	list, err := a.node.Preflist(r.Context(), bucket, []byte(q.Get("key")), n)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, orEmpty(list))
}

// defaultBucket is meant where none is named.
const defaultBucket = "default"

// orEmpty makes an absent list [] in JSON, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
