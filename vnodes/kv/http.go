package kv

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// ContextHeader carries the causal context of a value: today the stamp of the
// write that stored it, in unpadded base64url. What a Put brings in it must have
// that form and changes nothing: the newest write wins. It is there so that
// clients which hand it back go on to work when buckets can keep siblings.
const ContextHeader = "X-Ringcore-Context"

// HTTPHandler serves /v1/kv/ and /v1/ping. Keys and buckets are one segment of
// the path each and may hold any bytes, percent-encoded, slashes too.
func (k *KV) HTTPHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve, err := k.route(r)
		if err == nil {
			err = serve(w, r)
		}
		if err != nil {
			problem.Write(w, r, err)
		}
	})
}

// route finds what r asks for, and sets its path values. A http.ServeMux would
// not do: it takes a segment that is an encoded slash for the end of the path.
func (k *KV) route(r *http.Request) (func(http.ResponseWriter, *http.Request) error, error) {
	path := r.URL.EscapedPath()
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if path == "/v1/ping" && method == http.MethodGet {
		return k.httpPing, nil
	}
	rest, ok := strings.CutPrefix(path, "/v1/kv/")
	bucket, key, hasKey := strings.Cut(rest, "/")
	if !ok || strings.Contains(key, "/") {
		return nil, noOperation(r)
	}
	for name, segment := range map[string]string{"bucket": bucket, "key": key} {
		value, err := url.PathUnescape(segment)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "%s: %v", name, err)
		}
		r.SetPathValue(name, value)
	}
	switch {
	case hasKey && method == http.MethodGet:
		return k.httpGet, nil
	case hasKey && method == http.MethodPut:
		return k.httpPut, nil
	case hasKey && method == http.MethodDelete:
		return k.httpDelete, nil
	case !hasKey && method == http.MethodGet:
		return k.httpList, nil
	case !hasKey && method == http.MethodDelete:
		return k.httpClear, nil
	}
	return nil, noOperation(r)
}

func noOperation(r *http.Request) error {
	return wire.Errorf(wire.BadRequest, "%s %s is no operation: PUT, GET, DELETE /v1/kv/{bucket}/{key}, "+
		"GET, DELETE /v1/kv/{bucket} and GET /v1/ping are; a key is one segment, its slashes written %%2F", r.Method, r.URL.EscapedPath())
}

func (k *KV) httpGet(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	obj, err := k.Get(r.Context(), r.PathValue("bucket"), []byte(r.PathValue("key")), o)
	if err != nil {
		return err
	}
	writeObject(w, &obj)
	return nil
}

func (k *KV) httpPut(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	if err := checkContext(r.Header.Get(ContextHeader)); err != nil {
		return err
	}
	if r.ContentLength > codec.MaxValue {
		return wire.Errorf(wire.TooLarge, "the value has %d bytes, at most %d are allowed", r.ContentLength, codec.MaxValue)
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, codec.MaxValue))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	} else if err != nil {
		return wire.Errorf(wire.BadRequest, "read the value: %v", err)
	}
	if err := k.Put(r.Context(), r.PathValue("bucket"), []byte(r.PathValue("key")), value, o); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (k *KV) httpDelete(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	old, err := k.Delete(r.Context(), r.PathValue("bucket"), []byte(r.PathValue("key")), o)
	if err != nil {
		return err
	}
	writeObject(w, &old)
	return nil
}

func (k *KV) httpClear(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	res, err := k.Clear(r.Context(), r.PathValue("bucket"), o)
	if err == nil && !res.Complete {
		err = wire.Errorf(wire.Unavailable, "%d partitions could not be listed and %d keys not be deleted", len(res.Missing), res.Failed)
	}
	if err != nil {
		return &problem.Extended{Err: err, Extra: res.members()}
	}
	return writeJSON(w, res.members())
}

// members is c as it is shown, in success and in failure.
func (c *Cleared) members() map[string]any {
	keys := make([]textItem, len(c.Keys))
	for i, key := range c.Keys {
		keys[i].Key, keys[i].Encoding = jsonText(key)
	}
	m := map[string]any{"complete": c.Complete, "missing": c.Missing, "deleted": c.Deleted, "failed": c.Failed, "failed_keys": keys}
	if c.Missing == nil {
		m["missing"] = []ring.Partition{}
	}
	if c.Err != nil {
		m["reason"] = c.Err.Error()
	}
	return m
}

func (k *KV) httpPing(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	bucket := r.FormValue("bucket")
	if bucket == "" {
		bucket = codec.DefaultBucket
	}
	p, err := k.Ping(r.Context(), bucket, []byte(r.FormValue("key")), o)
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{
		"partition": p.Partition, "index": p.Partition.Index(k.cluster.Ring().Q()), "node": p.Name, "node_id": p.Node,
	})
}

// httpOptions reads a request's query parameters.
func httpOptions(r *http.Request) (Options, error) {
	q := r.URL.Query()
	var o Options
	var errs [7]error
	o.R, errs[0] = ParseQuorum(q.Get("r"))
	o.W, errs[1] = ParseQuorum(q.Get("w"))
	o.PR, errs[2] = ParseQuorum(q.Get("pr"))
	o.PW, errs[3] = ParseQuorum(q.Get("pw"))
	o.Timeout, errs[4] = ParseTimeout(q.Get("timeout"))
	if q.Has("sloppy") {
		var sloppy bool
		if sloppy, errs[5] = parseBool(q.Get("sloppy")); errs[5] == nil {
			o.Sloppy, o.Strict = sloppy, !sloppy
		}
	}
	return o, errors.Join(errs[:]...)
}

// parseBool reads a flag of a query; one without a value is set.
func parseBool(s string) (bool, error) {
	if s == "" {
		return true, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, wire.Errorf(wire.BadRequest, "%q is neither true nor false", s)
	}
	return b, nil
}

func writeObject(w http.ResponseWriter, obj *Object) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(obj.Value)))
	h.Set(ContextHeader, base64.RawURLEncoding.EncodeToString(obj.Stamp.Append(nil)))
	if !obj.Expires.IsZero() {
		h.Set("Expires", obj.Expires.UTC().Format(http.TimeFormat))
	}
	_, _ = w.Write(obj.Value) // the caller has gone: nothing to do about it
}

// checkContext refuses a causal context that was not made here.
func checkContext(s string) error {
	if s == "" {
		return nil
	}
	if b, err := base64.RawURLEncoding.DecodeString(s); err != nil || len(b) != wire.StampSize {
		return wire.Errorf(wire.BadRequest, "%s does not parse: hand back what a GET brought, or leave it out", ContextHeader)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(b, '\n')) // the caller has gone: nothing to do about it
	return nil
}
