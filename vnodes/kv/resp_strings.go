package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// respFanOut is how many keys of one command are asked for at once, at most.
const respFanOut = 32

func (c *respCall) kv() *KV { return c.conn.srv.kv }

// fetch reads one key; nil if it has no value.
func (c *respCall) fetch(ctx context.Context, key []byte, stat bool) (*Object, error) {
	read := c.kv().Get
	if stat {
		read = c.kv().Stat
	}
	obj, err := read(ctx, codec.DefaultBucket, key, Options{})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &obj, err
}

// each calls f for 0 to n-1 and returns the first error. It works on as many at a
// time as the server has slots to spare, and on one in any case.
func (c *respCall) each(n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(c.ctx, 0)
	}
	g, ctx := errgroup.WithContext(c.ctx)
	var next atomic.Int64
	work := func() error {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			if err := f(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	slots := c.conn.srv.slots
	for range min(n, respFanOut) - 1 {
		select {
		case slots <- struct{}{}:
			g.Go(func() error {
				defer func() { <-slots }()
				return work()
			})
			continue
		default:
		}
		break
	}
	g.Go(work) // in the slot that the command itself has
	return g.Wait()
}

func (c *respCall) get() {
	obj, err := c.fetch(c.ctx, c.args[1], false)
	if err != nil {
		c.fail(err)
		return
	}
	c.value(obj)
}

func (c *respCall) strlen() {
	obj, err := c.fetch(c.ctx, c.args[1], false)
	switch {
	case err != nil:
		c.fail(err)
	case obj == nil:
		c.int(0)
	default:
		c.int(int64(len(obj.Value)))
	}
}

func (c *respCall) mget() {
	keys := c.args[1:]
	objs := make([]*Object, len(keys))
	err := c.each(len(keys), func(ctx context.Context, i int) (err error) {
		objs[i], err = c.fetch(ctx, keys[i], false)
		return err
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.array(len(objs))
	for _, obj := range objs {
		c.value(obj)
	}
}

// mset is MSET key value …: not one atomic write as in Redis, but one for each
// key. After an error some of them may be stored.
func (c *respCall) mset() {
	if len(c.args)%2 == 0 {
		c.wrongArgs()
		return
	}
	last := make(map[string]int, len(c.args)/2) // of a key named twice, the last value counts
	for i := 1; i < len(c.args); i += 2 {
		last[string(c.args[i])] = i
	}
	places := make([]int, 0, len(last))
	for _, i := range last {
		places = append(places, i)
	}
	err := c.each(len(places), func(ctx context.Context, j int) error {
		i := places[j]
		return c.kv().Replace(ctx, codec.DefaultBucket, c.args[i], c.args[i+1], Options{})
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.ok()
}

// setArgs is what stands behind SET key value.
type setArgs struct {
	cond    codec.Cond
	get     bool
	expires time.Time
}

// set is SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL].
func (c *respCall) set() {
	a, problem := c.setArgs()
	if problem != "" {
		c.error(problem)
		return
	}
	o := Options{Expires: a.expires}
	if a.cond == 0 && !a.get {
		if err := c.kv().Replace(c.ctx, codec.DefaultBucket, c.args[1], c.args[2], o); err != nil {
			c.fail(err)
			return
		}
		c.ok()
		return
	}
	out, err := c.kv().PutIf(c.ctx, codec.DefaultBucket, c.args[1], c.args[2], a.cond, o)
	switch {
	case err != nil:
		c.fail(err)
	case a.get:
		c.value(out.Old)
	case out.Applied:
		c.ok()
	default:
		c.null()
	}
}

func (c *respCall) setArgs() (a setArgs, problem string) {
	for i := 3; i < len(c.args); i++ {
		switch opt := c.option(i); opt {
		case "nx":
			a.cond |= codec.IfAbsent
		case "xx":
			a.cond |= codec.IfExists
		case "get":
			a.get = true
		case "keepttl":
			a.cond |= codec.KeepTTL
		case "ex", "px", "exat", "pxat":
			if i++; i == len(c.args) || !a.expires.IsZero() {
				return a, respSyntax
			}
			if a.expires, problem = c.expiry(opt, c.args[i]); problem != "" {
				return a, problem
			}
		default:
			return a, respSyntax
		}
	}
	both := codec.IfAbsent | codec.IfExists
	if a.cond&both == both || a.cond&codec.KeepTTL != 0 && !a.expires.IsZero() {
		return a, respSyntax
	}
	return a, ""
}

// expiry reads a time to live, or of death, in the unit that the option says. It
// must be positive.
func (c *respCall) expiry(opt string, arg []byte) (at time.Time, problem string) {
	n, err := strconv.ParseInt(string(arg), 10, 64)
	if err != nil {
		return at, respNotInteger
	}
	if at, ok := expireAt(c.conn.srv.cfg.now(), opt, n); ok && n > 0 {
		return at, ""
	}
	return at, fmt.Sprintf("ERR invalid expire time in '%s' command", c.cmd.name)
}

// expireAt is now or the epoch plus n seconds (ex, exat) or milliseconds; false
// if it lies too far ahead to count.
func expireAt(now time.Time, opt string, n int64) (time.Time, bool) {
	const most = int64(1) << 60 // milliseconds
	if opt[0] == 'e' {
		if n > most/1000 || n < -most/1000 {
			return time.Time{}, false
		}
		n *= 1000
	}
	if n > most || n < -most {
		return time.Time{}, false
	}
	if len(opt) == 2 {
		n += now.UnixMilli()
	}
	return time.UnixMilli(n), true
}

func (c *respCall) setex() {
	at, problem := c.expiry("ex", c.args[2])
	if problem != "" {
		c.error(problem)
		return
	}
	if err := c.kv().Replace(c.ctx, codec.DefaultBucket, c.args[1], c.args[3], Options{Expires: at}); err != nil {
		c.fail(err)
		return
	}
	c.ok()
}

func (c *respCall) getdel() {
	obj, err := c.kv().Delete(c.ctx, codec.DefaultBucket, c.args[1], Options{})
	switch {
	case err == nil:
		c.value(&obj)
	case errors.Is(err, ErrNotFound):
		c.null()
	default:
		c.fail(err)
	}
}
