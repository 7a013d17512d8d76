package kv

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

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
	return writeObject(w, &obj)
}

func (k *KV) httpPut(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	cond, err := httpCondition(r, &o)
	if err != nil {
		return err
	}
	if r.ContentLength > codec.MaxValue {
		return wire.Errorf(wire.TooLarge, "the value has %d bytes, at most %d are allowed", r.ContentLength, codec.MaxValue)
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, codec.MaxValue))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, refused := errors.AsType[*wire.Error](err)
	switch {
	case tooLarge, refused:
		return err
	case err != nil:
		return wire.Errorf(wire.BadRequest, "read the value: %v", err)
	}
	bucket, key := r.PathValue("bucket"), []byte(r.PathValue("key"))
	if cond == 0 {
		err = k.Put(r.Context(), bucket, key, value, o)
	} else {
		var out Outcome
		if out, err = k.PutIf(r.Context(), bucket, key, value, cond, o); err == nil && !out.Applied {
			err = ErrUnmet
		}
	}
	if err != nil {
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
	if r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
		return wire.Errorf(wire.BadRequest, "conditions are for PUT; a DELETE with %s leaves what the context has not seen", ContextHeader)
	}
	old, err := k.Delete(r.Context(), r.PathValue("bucket"), []byte(r.PathValue("key")), o)
	if err != nil {
		return err
	}
	return writeObject(w, &old)
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

func writeJSON(w http.ResponseWriter, v any) error { return writeJSONStatus(w, http.StatusOK, v) }

func writeJSONStatus(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the caller has gone: nothing to do about it
	return nil
}
