package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// maxReply caps an answer that is read whole: a value at its longest, in base64,
// a few times.
const maxReply = 64 << 20

// defaultPort is that of an endpoint which is a host alone.
const defaultPort = "7402"

// apiClient speaks to the HTTP API of the first endpoint that can be reached.
type apiClient struct {
	endpoints []string // without a trailing slash
	timeout   time.Duration
	http      *http.Client
}

// request is one call of the API. path is escaped already.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// api makes a client of the global flags.
func (a *app) api() (*apiClient, error) {
	c := &apiClient{timeout: a.timeout}
	for e := range strings.SplitSeq(a.endpoint, ",") {
		e = strings.TrimRight(strings.TrimSpace(e), "/")
		if e == "" {
			continue
		}
		if !strings.Contains(e, "://") {
			if _, _, err := net.SplitHostPort(e); err != nil {
				e = net.JoinHostPort(strings.Trim(e, "[]"), defaultPort)
			}
			e = "http://" + e
		}
		if u, err := url.Parse(e); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, usagef("pass for example --endpoint http://127.0.0.1:7402", "%q is no endpoint", e)
		}
		c.endpoints = append(c.endpoints, e)
	}
	if len(c.endpoints) == 0 {
		return nil, usagef("pass for example --endpoint http://127.0.0.1:7402", "there is no endpoint")
	}
	dial := &net.Dialer{Timeout: max(a.timeout/time.Duration(len(c.endpoints)), time.Second)}
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial.DialContext, DisableKeepAlives: true}}
	return c, nil
}

// keepConnections has c use its connections again, so many at a time, until done is called.
func (c *apiClient) keepConnections(n int) (done func()) {
	t := &http.Transport{MaxIdleConnsPerHost: n}
	if own, ok := c.http.Transport.(*http.Transport); ok {
		t.DialContext = own.DialContext
	}
	c.http = &http.Client{Transport: t}
	return t.CloseIdleConnections
}

// share is the time that a node is given for a request, a little less than the
// client waits, so that it is the node that says what is missing.
func (c *apiClient) share() string { return (c.timeout * 9 / 10).String() }

// do sends r and returns the answer with its body read, for statuses below 400.
func (c *apiClient) do(ctx context.Context, r request) (res *http.Response, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if res, err = c.send(ctx, r); err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxReply)); err != nil {
		return nil, nil, broken(ctx, c.timeout, r, res.Request.URL.Host, err)
	}
	return res, body, nil
}

// stream sends r and lets read have the body as it arrives.
func (c *apiClient) stream(ctx context.Context, r request, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := read(res.Body); err != nil {
		return broken(ctx, c.timeout, r, res.Request.URL.Host, err)
	}
	return nil
}

// get reads the JSON document at path into v.
func (c *apiClient) get(ctx context.Context, path string, query url.Values, v any) error {
	_, body, err := c.do(ctx, request{method: "GET", path: path, query: query})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the answer to GET %s is not what was expected: %w", path, err)
	}
	return nil
}

// post sends v as JSON, and reads the answer into answer, unless that is nil.
func (c *apiClient) post(ctx context.Context, path string, v, answer any) error {
	return c.call(ctx, http.MethodPost, path, v, answer)
}

// call is post with another method.
func (c *apiClient) call(ctx context.Context, method, path string, v, answer any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, body, err = c.do(ctx, request{method: method, path: path, body: body})
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("the answer to %s %s is not what was expected: %w", method, path, err)
	}
	return nil
}

// send tries the endpoints in turn, as long as it is sure that r did not run on
// the one before. The answer's body is the caller's to close.
func (c *apiClient) send(ctx context.Context, r request) (*http.Response, error) {
	var last error
	for _, e := range c.endpoints {
		res, err := c.sendTo(ctx, e, r)
		if err == nil {
			return res, nil
		}
		last = err
		if !harmless(ctx, r, err) {
			return nil, err
		}
	}
	return nil, last
}

// sendTo sends r to one endpoint. A status of 400 and above is a failure.
func (c *apiClient) sendTo(ctx context.Context, endpoint string, r request) (*http.Response, error) {
	target := endpoint + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	maps.Copy(req.Header, r.header)
	if len(r.body) > 0 && r.method == http.MethodPost && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		if notSent(err) && !errors.Is(err, context.Canceled) {
			return nil, &failure{
				code: exitUnreachable, err: fmt.Errorf("cannot reach %s: %w", endpoint, err),
				hint: "is a node running there? pass --endpoint or set RINGCORE_ENDPOINT; ringcore dev starts a cluster",
			}
		}
		return nil, broken(ctx, c.timeout, r, endpoint, err)
	}
	if res.StatusCode < 400 {
		return res, nil
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what came is better than nothing
	return nil, refusal(res, body)
}

// notSent reports whether err happened before anything was sent.
func notSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// harmless reports whether r may be sent to another endpoint after err.
func harmless(ctx context.Context, r request, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return false
	}
	if p, ok := errors.AsType[*problemError](err); ok {
		return p.code == wire.ShuttingDown.String()
	}
	return f.code == exitUnreachable || r.method == http.MethodGet
}

// broken is a request that was sent to where and whose answer did not come.
func broken(ctx context.Context, timeout time.Duration, r request, where string, err error) error {
	f := &failure{code: exitTimeout}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil:
		f.err = fmt.Errorf("no answer from %s within %s", where, timeout)
		f.hint = "allow more time with --timeout"
	default:
		f.err = fmt.Errorf("%s broke the connection off before it had answered: %w", where, err)
		f.hint = "is that a node's HTTP address? it is http= in its ready line, the port of its --addr + 2; if it is, try again"
	}
	if r.method != http.MethodGet {
		f.hint = "it may still happen: look before you repeat it; " + f.hint
	} else if ctx.Err() == nil {
		f.code = exitUnreachable
	}
	return f
}
