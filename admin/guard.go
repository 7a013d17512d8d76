package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Limits of a request.
const (
	maxJSONBody  = 64 << 10
	bodyDeadline = time.Minute // for a request's body to arrive
)

// guard stands before mux: it counts, refuses writes that a browser sends from
// another site, limits the time that a body may take, and answers unknown paths
// and methods as problem documents.
func (a *api) guard(mux *http.ServeMux) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, "cross_origin", "the request comes from a page of another site")
	}))
	inner := origins.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := mux.Handler(r); pattern == "" {
			a.refuse(w, r, h)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		handler := inner
		if a.loopback && !localHost(r.Host) {
			handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				writeProblem(w, http.StatusForbidden, "host", "this node listens on loopback, and is no "+r.Host+": ask 127.0.0.1 or localhost; a proxy has to pass such a Host on")
			})
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Body != http.NoBody {
			setReadDeadline(w, time.Now().Add(bodyDeadline))
			body, err := a.bodies.admit(r)
			if err != nil {
				handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { problem.Write(w, r, err) })
			} else {
				defer body.release()
			}
		}
		if a.tracer != nil {
			_, pattern := mux.Handler(r)
			traced, end := a.trace(r, pattern)
			r = traced
			defer func() { end(rec.status) }()
		}
		handler.ServeHTTP(rec, r)
		_, pattern := mux.Handler(r)
		if pattern == "" {
			pattern = "none"
		}
		a.metrics.count(pattern, rec.status, time.Since(began))
	})
}

// localHost reports whether a request's Host names no other machine than this. A page of
// another site may have its own name point to 127.0.0.1, and to the browser is then of the
// same origin as a node there: its requests tell by that name. Addresses cannot be made to.
func localHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil
}

// refuse answers a request that no route matches. h is the mux's own answer: it
// knows whether the path exists under another method.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := &probe{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		writeProblem(w, probe.status, "method_not_allowed", r.Method+" is not possible on "+r.URL.Path)
		return
	}
	a.missing(w, r)
}

// probe takes an answer that is not sent.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

// recorder notes the status of an answer on its way.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// setReadDeadline limits reading from the connection; the zero time takes the
// limit away. Only a ResponseWriter that is not a connection's has none to set.
func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// readJSON reads the one JSON document of r's body into v. Unknown fields and
// anything behind the document are refused. The error is a *wire.Error.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSONBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == nil {
			err = errors.New("more than one JSON document")
		} else if errors.Is(err, io.EOF) {
			setReadDeadline(w, time.Time{}) // what follows may take longer than the body was given
			return nil
		}
	}
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return refused
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return wire.Errorf(wire.TooLarge, "the body is longer than %d bytes", tooLong.Limit)
	}
	if errors.Is(err, io.EOF) {
		return wire.Errorf(wire.BadRequest, "the body is empty; a JSON object is needed")
	}
	return wire.Errorf(wire.BadRequest, "the body: %v", err)
}

// writeJSON answers 200 or another status with v.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // what fails here is the connection
}

// writeProblem answers with a problem document whose code is HTTP's business
// only, and therefore has no place among the codes of package wire.
func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", problem.ContentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem.Problem{
		Type: "urn:ringcore:problem:" + code, Title: http.StatusText(status), Status: status, Code: code, Detail: detail,
	})
}
