package kv

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/tidwall/redcon"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// reply is an answer in the making, in the version of the protocol that the
// connection speaks.
type reply struct {
	b     []byte
	proto int // 2 or 3
}

func (r *reply) ok()            { r.b = redcon.AppendOK(r.b) }
func (r *reply) text(s string)  { r.b = redcon.AppendString(r.b, s) }
func (r *reply) bulk(b []byte)  { r.b = redcon.AppendBulk(r.b, b) }
func (r *reply) word(s string)  { r.b = redcon.AppendBulkString(r.b, s) }
func (r *reply) int(n int64)    { r.b = redcon.AppendInt(r.b, n) }
func (r *reply) array(n int)    { r.b = redcon.AppendArray(r.b, n) }
func (r *reply) error(s string) { r.b = redcon.AppendError(r.b, s) }

// flag is 1 or 0.
func (r *reply) flag(b bool) {
	if b {
		r.int(1)
	} else {
		r.int(0)
	}
}

// null stands for what is not there.
func (r *reply) null() {
	if r.proto >= 3 {
		r.b = append(r.b, "_\r\n"...)
	} else {
		r.b = redcon.AppendNull(r.b)
	}
}

// pairs begins a map of n keys with their values.
func (r *reply) pairs(n int) {
	if r.proto < 3 {
		r.array(2 * n)
		return
	}
	r.b = append(strconv.AppendInt(append(r.b, '%'), int64(n), 10), '\r', '\n')
}

// value is what an object holds, null if there is none.
func (r *reply) value(o *Object) {
	if o == nil {
		r.null()
	} else {
		r.bulk(o.Value)
	}
}

// fail answers with err. What another try may cure begins with TRYAGAIN; a full
// disk with MISCONF, Redis' word for a server that cannot keep what it is given.
func (r *reply) fail(err error) {
	full, again := false, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if e, ok := errors.AsType[*wire.Error](err); ok {
		status := e.Code.HTTPStatus()
		full = e.Code == wire.DiskFull
		again = status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
	}
	if full {
		r.error("MISCONF " + err.Error())
	} else if again {
		r.error("TRYAGAIN " + err.Error())
	} else {
		r.error("ERR " + err.Error())
	}
}

// Errors in Redis' words, which clients compare.
const (
	respSyntax     = "ERR syntax error"
	respNotInteger = "ERR value is not an integer or out of range"
)
