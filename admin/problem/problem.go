package problem

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// ContentType is that of every problem document.
const ContentType = "application/problem+json"

// Problem is an error document. Code is stable and made for machines; Detail and
// Hint are made for people and may change.
type Problem struct {
	Type       string
	Title      string
	Status     int
	Code       string
	Detail     string         // what happened, this time
	Hint       string         // what to do about it; may be empty
	RetryAfter int            // seconds, for the header of that name; 0 for none
	Extra      map[string]any // further members of the document
}

// Extended is an error with further members for its problem document.
type Extended struct {
	Err   error
	Extra map[string]any // names in snake_case, none of the document's own
}

func (e *Extended) Error() string { return e.Err.Error() }

// Unwrap is the error that is extended.
func (e *Extended) Unwrap() error { return e.Err }

// From makes the problem of err. An error that is no *wire.Error inside becomes
// deadline, too_large or internal.
func From(err error) Problem {
	code, detail := classify(err)
	p := Problem{
		Type:   "urn:ringcore:problem:" + code.String(),
		Title:  strings.ReplaceAll(code.String(), "_", " "),
		Status: code.HTTPStatus(),
		Code:   code.String(),
		Detail: detail,
		Hint:   hint(code),
	}
	if code == wire.Overload || code == wire.ShuttingDown {
		p.RetryAfter = 1
	}
	if x, ok := errors.AsType[*Extended](err); ok {
		p.Extra = x.Extra
	}
	return p
}

// classify finds the code of err and what to tell about it.
func classify(err error) (wire.Code, string) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		if e.Code != wire.OK {
			return e.Code, strings.TrimPrefix(err.Error(), e.Code.String()+": ") // the document has the code already
		}
		return wire.Internal, err.Error()
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return wire.TooLarge, "the body has more than the " + strconv.FormatInt(big.Limit, 10) + " bytes that are allowed"
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return wire.Deadline, err.Error()
	}
	return wire.Internal, err.Error()
}

// hint is what the caller of a failed request should do.
func hint(c wire.Code) string {
	switch c {
	case wire.Unavailable, wire.NotReadable:
		return "The data may exist on nodes that cannot be reached now. Try again, or see `ringcore cluster status`."
	case wire.QuorumNotMet:
		return "Fewer replicas answered than asked. The write may survive on those that did; writing again is safe."
	case wire.Unmet:
		return "Nothing was written. Read the key, and decide anew."
	case wire.DataLoss:
		return `Nothing was changed. Bring back who has the data, if that can be; to go on without it pass "accept_loss":true (--accept-loss).`
	case wire.Overload:
		return "A queue is full. Wait before you try again."
	case wire.DiskFull:
		return "The disk of a node is full. Nothing was written. Make room on it, or let another node join; see /readyz."
	case wire.Deadline:
		return "Try again, or allow more time with timeout=."
	case wire.Maybe:
		return "The request may or may not have run. Read before you repeat it."
	case wire.ShuttingDown:
		return "This node is stopping. Ask another one."
	case wire.Internal:
		return "This is a bug of Ringcore; the node's log says more."
	}
	return ""
}

// MarshalJSON writes the document with its further members.
func (p Problem) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	maps.Copy(m, p.Extra)
	m["type"], m["title"], m["status"], m["code"] = p.Type, p.Title, p.Status, p.Code
	if p.Detail != "" {
		m["detail"] = p.Detail
	}
	if p.Hint != "" {
		m["hint"] = p.Hint
	}
	return json.Marshal(m)
}

// Write answers r with the problem of err. The answer must not have begun.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	p := From(err)
	body, jsonErr := json.Marshal(p)
	if jsonErr != nil { // an Extra that JSON cannot express
		p.Extra = nil
		body, _ = json.Marshal(p)
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	if r == nil || r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // the caller has gone: nothing to do about it
	}
}
