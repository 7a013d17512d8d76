package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// problemError is a problem document that a node answered with.
type problemError struct {
	status int
	code   string // empty if the answer is none of ours
	detail string
	body   []byte // as it came
}

func (p *problemError) Error() string {
	if p.code == "" {
		return p.detail
	}
	return fmt.Sprintf("%s (%s)", p.detail, p.code)
}

// refusal makes the failure of an answer of status 400 and above.
func refusal(res *http.Response, body []byte) error {
	var doc struct {
		Code   string `json:"code"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Hint   string `json:"hint"`
	}
	p := &problemError{status: res.StatusCode, body: body}
	if json.Unmarshal(body, &doc) != nil || doc.Code == "" {
		p.detail = "the node answered " + res.Status
		return &failure{code: exitFailed, err: p, hint: "is that endpoint the HTTP address of a Ringcore node?"}
	}
	p.code = doc.Code
	p.detail = strings.TrimPrefix(doc.Detail, doc.Code+": ")
	if p.detail == "" || p.detail == doc.Code {
		p.detail = doc.Title
	}
	hint := doc.Hint
	if hint == "" {
		hint = hintFor(doc.Code)
	}
	return &failure{code: exitCodeOf(doc.Code), err: p, hint: hint}
}

// exitCodeOf is the exit code for a problem's code.
func exitCodeOf(code string) int {
	switch code {
	case wire.BadRequest.String():
		return exitUsage
	case wire.Refused.String(), wire.Conflict.String(), wire.NotSupported.String(), wire.NotMember.String(),
		wire.WrongCluster.String(), wire.WrongNode.String(), wire.Unmet.String(), wire.DataLoss.String(), "cross_origin":
		return exitRefused
	case wire.Deadline.String(), wire.Maybe.String():
		return exitTimeout
	case wire.NotLeader.String(), wire.ShuttingDown.String():
		return exitUnreachable
	}
	return exitFailed
}

// hintFor is what to do about a code when the node gave no hint of its own.
func hintFor(code string) string {
	switch code {
	case wire.NotSupported.String():
		return "ringcore version says what runs here; ringcore --help says what there is"
	case wire.NotLeader.String():
		return "the cluster has no leader now, and can change nothing until it has: see ringcore cluster status"
	case wire.Refused.String(), wire.Conflict.String():
		return "ringcore cluster status shows how things stand, and ringcore cluster members who there is"
	}
	return ""
}

// hinted is err with another hint, if it is a node's answer with that code.
func hinted(err error, code wire.Code, hint string) error {
	if f, ok := errors.AsType[*failure](err); ok && isProblem(err, code) {
		f.hint = hint
	}
	return err
}

// isProblem reports whether err is a node's answer with that code.
func isProblem(err error, code wire.Code) bool {
	p, ok := errors.AsType[*problemError](err)
	return ok && p.code == code.String()
}
