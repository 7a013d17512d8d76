package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/history"
	"github.com/ringcore/ringcore/client/load"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// witness puts load on a bucket through the Go client, records every answer, and
// times it. Its keys begin with a prefix that nobody else uses.
type witness struct {
	client  *client.Client
	bucket  string
	prefix  string
	r, w    client.Quorum
	history *history.History

	mu      sync.Mutex // held to count an answer
	longest time.Duration
	slowest history.Op        // the one that took so long
	errors  map[string]uint64 // by code
	last    map[string]string // one error of each code
	failed  map[failedAs]*failedKey
}

// failedAs is what a failedKey is counted under.
type failedAs struct {
	kind history.Kind
	key  string
}

// witnessHeader is what a value begins with: its history.Value and a CRC-32C of
// that, the key and all that follows.
const witnessHeader = 12

// stamp makes value one that put v under key.
func stamp(key, value []byte, v history.Value) {
	binary.BigEndian.PutUint64(value, uint64(v))
	binary.BigEndian.PutUint32(value[8:], checksum(key, value))
}

// stamped is what was put when value was; one that was never put if it is damaged
// or another key's.
func stamped(key, value []byte) history.Value {
	if len(value) < witnessHeader || binary.BigEndian.Uint32(value[8:]) != checksum(key, value) {
		return ^history.None
	}
	return history.Value(binary.BigEndian.Uint64(value))
}

func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(key, table), table, value[:8])
	return crc32.Update(sum, table, value[witnessHeader:])
}

// target is w as a load's. What a run has begun ends by itself: what is cut off
// could only count as maybe.
func (w *witness) target() load.Target {
	return load.Target{
		Put: func(ctx context.Context, caller int, key, value []byte) error {
			key = w.key(key)
			op := w.history.Begin(caller, string(key), history.Put)
			stamp(key, value, op.Value)
			return w.done(op, w.client.Put(context.WithoutCancel(ctx), w.bucket, key, value, client.WriteOptions{W: w.w}))
		},
		Get: func(ctx context.Context, caller int, key []byte) error {
			return w.get(context.WithoutCancel(ctx), caller, w.key(key), w.r)
		},
		Delete: func(ctx context.Context, caller int, key []byte) error {
			key = w.key(key)
			op := w.history.Begin(caller, string(key), history.Delete)
			_, err := w.client.Delete(context.WithoutCancel(ctx), w.bucket, key, client.WriteOptions{W: w.w})
			return w.done(op, err)
		},
	}
}

func (w *witness) key(key []byte) []byte { return append([]byte(w.prefix), key...) }

func (w *witness) get(ctx context.Context, caller int, key []byte, r client.Quorum) error {
	op := w.history.Begin(caller, string(key), history.Get)
	obj, err := w.client.Get(ctx, w.bucket, key, client.ReadOptions{R: r})
	if err == nil {
		op.Value = stamped(key, obj.Value)
	}
	return w.done(op, err)
}

// done notes how op has ended. That a key has no value is an answer, no error.
func (w *witness) done(op *history.Call, err error) error {
	if errors.Is(err, client.ErrNotFound) && op.Kind == history.Get {
		err = nil
	}
	op.Done(outcomeOf(err))
	if errors.Is(err, client.ErrNotFound) { // a delete
		err = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := op.End - op.Start; took > w.longest {
		w.longest, w.slowest = took, op.Op
	}
	if err != nil {
		code := codeOf(err)
		w.errors[code]++
		w.last[code] = fmt.Sprintf("%s: %v", &op.Op, err)
		k := w.failed[failedAs{op.Kind, op.Key}]
		if k == nil {
			k = &failedKey{Kind: op.Kind.String(), Key: op.Key}
			w.failed[failedAs{op.Kind, op.Key}] = k
		}
		k.Errors++
		k.Last = w.last[code]
	}
	return err
}

// outcomeOf says whether what ended with err may have taken effect. A delete that
// finds nothing does not write.
func outcomeOf(err error) history.Outcome {
	switch {
	case err == nil:
		return history.OK
	case errors.Is(err, client.ErrNotFound), errors.Is(err, client.ErrDiskFull), errors.Is(err, client.ErrTooLarge):
		return history.Failed
	}
	return history.Maybe
}

// codeOf is the code of err for people: "other" if it has none.
func codeOf(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code.String()
	}
	return "other"
}

// watchPauses measures for how long this process, and so probably the machine, stood
// still at most. stop returns that.
func watchPauses() (stop func() time.Duration) {
	const period = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	longest := make(chan time.Duration)
	go func() {
		var most time.Duration
		tick := time.NewTicker(period)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-tick.C:
				now := time.Now()
				most = max(most, now.Sub(last)-period)
				last = now
			case <-ctx.Done():
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		cancel()
		return <-longest
	}
}
