package kv

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// ContextHeader carries a causal context both ways: with a value that of its read,
// with a PUT or DELETE that of the read which it follows. The ETag is the same,
// in quotes.
const ContextHeader = "X-Ringcore-Context"

// httpOptions reads a request's query parameters, and its context.
func httpOptions(r *http.Request) (Options, error) {
	q := r.URL.Query()
	var o Options
	var errs [8]error
	o.R, errs[0] = wire.ParseQuorum(q.Get("r"))
	o.W, errs[1] = wire.ParseQuorum(q.Get("w"))
	o.PR, errs[2] = wire.ParseQuorum(q.Get("pr"))
	o.PW, errs[3] = wire.ParseQuorum(q.Get("pw"))
	o.Timeout, errs[4] = ParseTimeout(q.Get("timeout"))
	o.Context, errs[6] = codec.ParseContext(r.Header.Get(ContextHeader))
	if at := q.Get("expires"); at != "" {
		if o.Expires, errs[7] = time.Parse(time.RFC3339, at); errs[7] != nil {
			errs[7] = wire.Errorf(wire.BadRequest, "expires=%s is no time: write it as 2026-01-02T03:04:05Z", at)
		}
	}
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

// httpCondition reads under which condition a PUT is meant: If-None-Match: * for no
// value, If-Match: * for any, and If-Match with an ETag for the one of that read.
func httpCondition(r *http.Request, o *Options) (codec.Cond, error) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	tag, quoted := strings.CutPrefix(match, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	switch {
	case match == "" && none == "":
		return 0, nil
	case match == "" && none == "*":
		return codec.IfAbsent, nil
	case none == "" && match == "*":
		return codec.IfExists, nil
	case none == "" && quoted && closed && tag != "":
		seen, err := codec.ParseContext(tag)
		o.Context = seen
		return codec.IfExists | codec.IfUnchanged, err
	}
	return 0, wire.Errorf(wire.BadRequest, "the condition is not known: use one of If-None-Match: *, If-Match: *, and If-Match with the ETag of a GET")
}

// writeObject answers with a value, or with all of them if there are several.
func writeObject(w http.ResponseWriter, obj *Object) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	seen := obj.Context.String()
	h.Set(ContextHeader, seen)
	h.Set("ETag", `"`+seen+`"`)
	if len(obj.Siblings) > 0 {
		values := make([][]byte, len(obj.Siblings)) // base64 in JSON
		for i := range obj.Siblings {
			values[i] = obj.Siblings[i].Value
		}
		return writeJSONStatus(w, http.StatusMultipleChoices, values)
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(obj.Value)))
	if !obj.Expires.IsZero() {
		h.Set("Expires", obj.Expires.UTC().Format(http.TimeFormat))
	}
	_, _ = w.Write(obj.Value) // the caller has gone: nothing to do about it
	return nil
}
