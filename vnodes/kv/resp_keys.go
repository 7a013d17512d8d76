package kv

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// respMaxKeys bounds the bytes of an answer to KEYS.
const respMaxKeys = 64 << 20

func (c *respCall) del() {
	seen := make(map[string]bool, len(c.args)-1)
	var keys [][]byte
	for _, key := range c.args[1:] {
		if !seen[string(key)] {
			seen[string(key)] = true
			keys = append(keys, key)
		}
	}
	c.count(keys, func(ctx context.Context, key []byte) (bool, error) {
		_, err := c.kv().Delete(ctx, codec.DefaultBucket, key, Options{})
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return true, err
	})
}

func (c *respCall) exists() {
	c.count(c.args[1:], func(ctx context.Context, key []byte) (bool, error) {
		obj, err := c.fetch(ctx, key, true)
		return obj != nil, err
	})
}

// count answers for how many keys is says yes.
func (c *respCall) count(keys [][]byte, is func(context.Context, []byte) (bool, error)) {
	var n atomic.Int64
	err := c.each(len(keys), func(ctx context.Context, i int) error {
		yes, err := is(ctx, keys[i])
		if yes && err == nil {
			n.Add(1)
		}
		return err
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.int(n.Load())
}

func (c *respCall) ttl() {
	c.left(func(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) })
}

func (c *respCall) pttl() { c.left(time.Duration.Milliseconds) }

// left answers how long the key lives on: -1 for ever, -2 if it does not.
func (c *respCall) left(unit func(time.Duration) int64) {
	obj, err := c.fetch(c.ctx, c.args[1], true)
	switch {
	case err != nil:
		c.fail(err)
	case obj == nil:
		c.int(-2)
	case obj.Expires.IsZero():
		c.int(-1)
	default:
		c.int(unit(max(obj.Expires.Sub(c.conn.srv.cfg.now()), 0)))
	}
}

// expire is EXPIRE key seconds. A time that has passed deletes the key.
func (c *respCall) expire() {
	if len(c.args) > 3 {
		c.error("ERR Unsupported option " + c.option(3))
		return
	}
	n, err := strconv.ParseInt(string(c.args[2]), 10, 64)
	if err != nil {
		c.error(respNotInteger)
		return
	}
	at, ok := expireAt(c.conn.srv.cfg.now(), "ex", n)
	if !ok {
		c.error("ERR invalid expire time in 'expire' command")
		return
	}
	if n <= 0 {
		c.args = c.args[:2]
		c.del()
		return
	}
	c.expireTo(at)
}

func (c *respCall) persist() { c.expireTo(time.Time{}) }

func (c *respCall) expireTo(at time.Time) {
	out, err := c.kv().Expire(c.ctx, codec.DefaultBucket, c.args[1], at, Options{})
	if err != nil {
		c.fail(err)
		return
	}
	c.flag(out.Applied)
}

// walk lists all keys. What cannot be reached is an error: half an answer would be wrong.
func (c *respCall) walk(emit func(key []byte) error) error {
	cover, err := c.kv().Keys(c.ctx, codec.DefaultBucket, Options{}, func(e *Entry) error { return emit(e.Key) })
	if err == nil && !cover.Complete {
		err = incomplete(&cover)
	}
	return err
}

func (c *respCall) dbsize() {
	n := int64(0)
	if err := c.walk(func([]byte) error { n++; return nil }); err != nil {
		c.fail(err)
		return
	}
	c.int(n)
}

func (c *respCall) listKeys() {
	var keys [][]byte
	size := 0
	err := c.walk(func(key []byte) error {
		if !globMatch(c.args[1], key) {
			return nil
		}
		if size += len(key); size > respMaxKeys {
			return wire.Errorf(wire.TooLarge, "more than %d bytes of keys match: use SCAN", respMaxKeys)
		}
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.keyList(keys)
}

func (c *respCall) keyList(keys [][]byte) {
	c.array(len(keys))
	for _, key := range keys {
		c.bulk(key)
	}
}

// scan is SCAN cursor [MATCH pattern] [COUNT n] [TYPE string].
func (c *respCall) scan() {
	cursor, err := strconv.ParseUint(string(c.args[1]), 10, 64)
	if err != nil {
		c.error("ERR invalid cursor")
		return
	}
	pattern, count, strings := []byte("*"), 10, true
	for i := 2; i < len(c.args); i += 2 {
		if i+1 == len(c.args) {
			c.error(respSyntax)
			return
		}
		switch arg := c.args[i+1]; c.option(i) {
		case "match":
			pattern = arg
		case "count":
			if count, err = strconv.Atoi(string(arg)); err != nil {
				c.error(respNotInteger)
				return
			}
			if count < 1 {
				c.error(respSyntax)
				return
			}
		case "type":
			strings = c.option(i+1) == "string"
		default:
			c.error(respSyntax)
			return
		}
	}
	keys, next, err := c.kv().Scan(c.ctx, codec.DefaultBucket, cursor, count, Options{})
	if err != nil {
		c.fail(err)
		return
	}
	c.array(2)
	c.word(strconv.FormatUint(next, 10))
	matching := keys[:0]
	for _, key := range keys {
		if strings && globMatch(pattern, key) {
			matching = append(matching, key)
		}
	}
	c.keyList(matching)
}

// flush is FLUSHDB or FLUSHALL [SYNC|ASYNC]: there is one bucket, and it always waits.
func (c *respCall) flush() {
	if opt := c.option(1); len(c.args) > 2 || opt != "" && opt != "sync" && opt != "async" {
		c.error(respSyntax)
		return
	}
	res, err := c.kv().Clear(c.ctx, codec.DefaultBucket, Options{})
	switch {
	case err != nil:
		c.fail(err)
	case !res.Complete:
		c.fail(wire.Errorf(wire.Unavailable, "%d keys deleted; %d keys could not be, and %d partitions not be reached: %v",
			res.Deleted, res.Failed, len(res.Missing), res.Missing))
	default:
		c.ok()
	}
}
