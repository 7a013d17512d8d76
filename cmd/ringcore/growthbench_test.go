//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

const (
	growthBar      = 1.3     // times the CPU of an operation where there is little
	growthBytesBar = 400e6   // bytes of large values a second
	growthP99Bar   = 2.0     // times the p99 of small gets alone
	growthFew      = 100_000 // records
	growthLength   = 5 * time.Second
	growthCallers  = 64
	growthRate     = 2000 // of small gets a second, which leave room
	growthLarge    = 1 << 20
)

// TestGrowthBench measures what partitions, records and large values cost, on one node
// with one replica. RINGCORE_BENCH_GROWTH is how many records are many. See make bench-growth.
func TestGrowthBench(t *testing.T) {
	many := setting(t, "RINGCORE_BENCH_GROWTH", 0)
	if many == 0 {
		t.Skip("make bench-growth runs it")
	}
	few := growthCost(t, 64, growthFew)
	for _, c := range []struct {
		what string
		cost growth
	}{
		{"1,024 partitions", growthCost(t, 1024, growthFew)},
		{strconv.Itoa(many) + " records", growthCost(t, 64, many)},
	} {
		for _, op := range []string{"put", "get"} {
			ratio := c.cost[op] / few[op]
			bar(t, ratio <= growthBar, "%s: server CPU of a %s %.2f s per million, %.2f times that of 64 partitions and %d records; bar %.1f",
				c.what, op, c.cost[op], ratio, growthFew, growthBar)
		}
	}
	b := startBenchNode(t)
	for _, size := range []int{16 << 10, growthLarge} {
		b.growthBytes(size)
	}
	b.growthBeside()
	b.disconnect()
}

// growth is the server's CPU seconds for a million operations, by operation.
type growth map[string]float64

// growthCost loads a node of its own and measures it.
func growthCost(t *testing.T, partitions, records int) growth {
	t.Helper()
	b := startBenchNode(t, "--partitions", strconv.Itoa(partitions))
	defer b.node.stop()
	defer b.disconnect()
	rate, err := b.each(t.Context(), records, func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, 1, bigValue), client.WriteOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
	cost := growth{}
	for _, op := range []string{"put", "get"} {
		b.awaitIdle()
		run := b.growthRun(&load.Load{Op: op, Callers: growthCallers, Duration: growthLength, Keys: records, Sizes: load.Size(bigValue)}, benchBucket)
		cost[op] = run.ServerCPU
		say("%d partitions, %d records (loaded at %.0f/s): %ss, %d callers: %.0f/s, p99 %.3f ms, server CPU %.2f s per million, client %.2f",
			partitions, records, rate, op, growthCallers, run.Rate, run.P99, run.ServerCPU, run.ClientCPU)
	}
	return cost
}

// growthRun puts load on a bucket.
func (b *benchNode) growthRun(l *load.Load, bucket string) *benchRun {
	b.t.Helper()
	c := b.clients[0]
	l.Target = load.Target{
		Put: func(ctx context.Context, _ int, key, value []byte) error {
			return c.Put(ctx, bucket, key, value, client.WriteOptions{})
		},
		Get: func(ctx context.Context, _ int, key []byte) error {
			_, err := c.Get(ctx, bucket, key, client.ReadOptions{})
			return err
		},
	}
	run, err := measure(b.t.Context(), l, []int{b.node.cmd.Process.Pid})
	if err != nil {
		b.t.Fatal(err)
	}
	if run.Errors > 0 || run.Unsent > 0 {
		b.t.Errorf("%d %ss failed, for example: %s; %d were not sent", run.Errors, l.Op, run.LastError, run.Unsent)
	}
	return run
}

// awaitIdle waits until the node has done what earlier requests have left to it.
func (b *benchNode) awaitIdle() {
	b.t.Helper()
	until(b.t, "the node is idle", func() error {
		used, err := load.CPUTime(b.node.cmd.Process.Pid)
		if err != nil {
			return err
		}
		<-time.After(500 * time.Millisecond)
		now, err := load.CPUTime(b.node.cmd.Process.Pid)
		if took := now - used; err == nil && took > 25*time.Millisecond {
			err = fmt.Errorf("it took %s of half a second", took)
		}
		return err
	})
}

// growthFill writes some large values, about 100 MB.
func (b *benchNode) growthFill(bucket string, size int) (keys int) {
	b.t.Helper()
	keys = 100_000_000 / size
	var next sync.Mutex
	i := 0
	var failed error
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for {
				next.Lock()
				n := i
				i++
				stop := n >= keys || failed != nil
				next.Unlock()
				if stop {
					return
				}
				if err := b.clients[0].Put(b.t.Context(), bucket, load.Key(n), benchRecord(n, 1, size), client.WriteOptions{}); err != nil {
					next.Lock()
					failed = errors.Join(failed, err)
					next.Unlock()
				}
			}
		})
	}
	running.Wait()
	if failed != nil {
		b.t.Fatal(failed)
	}
	return keys
}

// growthBytes measures gets of large values.
func (b *benchNode) growthBytes(size int) {
	b.t.Helper()
	bucket := "values-" + strconv.Itoa(size)
	keys := b.growthFill(bucket, size)
	b.awaitIdle()
	run := b.growthRun(&load.Load{Op: "get", Callers: 16, Duration: growthLength, Keys: keys}, bucket)
	rate := run.Rate * float64(size)
	bar(b.t, rate >= growthBytesBar, "gets of %d bytes, 16 callers: %s/s; server CPU %.2f s per GB, client %.2f; bar %s/s",
		size, mb(int64(rate)), run.ServerCPU*1e3/float64(size), run.ClientCPU*1e3/float64(size), mb(int64(growthBytesBar)))
}

// growthBeside measures small gets that leave the node room, alone and beside one caller
// that gets, or puts, large values on the same connection, one after another.
func (b *benchNode) growthBeside() {
	b.t.Helper()
	const keys = 1000
	l := load.Load{Op: "get", Callers: 64, Duration: growthLength, Keys: keys, Rate: growthRate}
	fill := load.Load{Keys: keys, Sizes: load.Size(bigValue), Target: load.Target{Put: func(ctx context.Context, _ int, key, value []byte) error {
		return b.clients[0].Put(ctx, "small", key, value, client.WriteOptions{})
	}}}
	if err := fill.Fill(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	bucket := "values-" + strconv.Itoa(growthLarge)
	large := b.growthFill(bucket, growthLarge)
	b.awaitIdle()
	small := l
	alone := b.growthRun(&small, "small")
	for _, op := range []string{"get", "put"} {
		ctx, stop := context.WithCancel(b.t.Context())
		var stream sync.WaitGroup
		var moved int
		stream.Go(func() {
			value := benchRecord(1, 2, growthLarge)
			for n := 0; ctx.Err() == nil; n++ {
				var err error
				if op == "get" {
					_, err = b.clients[0].Get(ctx, bucket, load.Key(n%large), client.ReadOptions{})
				} else {
					err = b.clients[0].Put(ctx, bucket, load.Key(n%large), value, client.WriteOptions{})
				}
				if err != nil && ctx.Err() == nil {
					b.t.Errorf("%s of a large value: %v", op, err)
					return
				}
				moved = n
			}
		})
		small := l
		beside := b.growthRun(&small, "small")
		stop()
		stream.Wait()
		bar(b.t, beside.P99 <= growthP99Bar*alone.P99, "small gets, %d/s: p99 %.3f ms beside %ss of %d bytes (%s/s), %.3f ms alone: %.2f times; bar %.0f",
			growthRate, beside.P99, op, growthLarge, mb(int64(float64(moved)*growthLarge/growthLength.Seconds())), alone.P99, beside.P99/alone.P99, growthP99Bar)
	}
}
