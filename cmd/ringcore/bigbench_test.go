//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
	"github.com/ringcore/ringcore/vnodes/kv"
)

const (
	bigValue       = 100
	bigKept        = 10               // one of so many stays when most are deleted
	bigAnonBar     = 700_000_000      // bytes of RssAnon
	bigLatencyBar  = time.Millisecond // p99 of a get with 16 callers
	bigShrinkBar   = 2.5              // bytes of files for one of live data
	bigReadCallers = 16
	bigSamples     = 20_000
)

// TestBigBench loads a node with many records, reads them, deletes most of them, and
// waits for the files to shrink. RINGCORE_BENCH_BIG is how many records.
func TestBigBench(t *testing.T) {
	n := setting(t, "RINGCORE_BENCH_BIG", 0)
	if n == 0 {
		t.Skip("make bench-big runs it")
	}
	b := startBenchNode(t)
	memory := b.watchMemory()
	rate, err := b.each(t.Context(), n, func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, 1, bigValue), client.WriteOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
	say("loaded: %d records of %d bytes, %.0f/s", n, bigValue, rate)
	b.sayState()
	b.bigGets(n)
	peak := memory.end()
	b.embeddedGets(n)
	memory = b.watchMemory()
	rate, err = b.each(t.Context(), n, func(ctx context.Context, c *client.Client, i int) error {
		if i%bigKept == 0 {
			return nil
		}
		_, err := c.Delete(ctx, benchBucket, benchKey(i), client.WriteOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	say("deleted: all but one of %d, %.0f/s", bigKept, rate*(bigKept-1)/bigKept)
	b.awaitShrunk(n, time.Duration(setting(t, "RINGCORE_BENCH_WAIT", 600))*time.Second)
	peak = max(peak, memory.end())
	bar(t, peak < bigAnonBar, "RssAnon at most %s; bar %s", mb(peak), mb(bigAnonBar))
	_, err = b.each(t.Context(), bigSamples, func(ctx context.Context, c *client.Client, _ int) error {
		i := rand.IntN(n)
		if i%bigKept == 0 {
			return b.expect(ctx, c, i, 1, bigValue)
		}
		if got, err := b.get(ctx, c, i); !errors.Is(err, client.ErrNotFound) {
			return fmt.Errorf("record %d, which was deleted, is %.30q, %w", i, got, err)
		}
		return nil
	})
	if err == nil {
		err = b.eachSurvivor(n)
	}
	if err != nil {
		t.Error(err)
	}
}

// eachSurvivor reads a sample of what was not deleted.
func (b *benchNode) eachSurvivor(n int) error {
	_, err := b.each(b.t.Context(), bigSamples, func(ctx context.Context, c *client.Client, _ int) error {
		return b.expect(ctx, c, rand.IntN((n+bigKept-1)/bigKept)*bigKept, 1, bigValue)
	})
	return err
}

func (b *benchNode) sayState() {
	b.t.Helper()
	anon, err := b.anonymous()
	if err != nil {
		b.t.Fatal(err)
	}
	count, files := b.files(".bolt")
	_, logs := b.files(".segment")
	say("now: RssAnon %s, %d files of %s, log %s", mb(anon), count, mb(files), mb(logs))
}

// bigGets measures gets of random records.
func (b *benchNode) bigGets(n int) {
	b.t.Helper()
	l := &load.Load{Op: "get", Callers: bigReadCallers, Duration: 20 * time.Second, Keys: n, Target: load.Target{
		Get: func(ctx context.Context, _ int, key []byte) error {
			_, err := b.clients[0].Get(ctx, benchBucket, key, client.ReadOptions{})
			return err
		},
	}}
	run, err := measure(b.t.Context(), l, []int{b.node.cmd.Process.Pid})
	if err != nil {
		b.t.Fatal(err)
	}
	say("gets, %d callers: %.0f/s, p50 %.3f ms, p99 %.3f ms, server CPU %.1f s per million, client %.1f",
		run.Callers, run.Rate, run.P50, run.P99, run.ServerCPU, run.ClientCPU)
	if run.Errors > 0 {
		b.t.Errorf("%d gets failed, for example: %s", run.Errors, run.LastError)
	}
	bar(b.t, run.P99 < ms(bigLatencyBar), "get p99 over TCP %.3f ms; bar %s", run.P99, bigLatencyBar)
}

// embeddedGets measures gets in a program that runs the node itself: without TCP, and
// without two processes that wait for each other's processors.
func (b *benchNode) embeddedGets(n int) {
	b.t.Helper()
	b.disconnect()
	b.node.stop()
	node, err := ringcore.Open(b.t.Context(), ringcore.Config{Dir: b.node.dir(), Name: b.node.name, Addr: b.node.addr, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := node.Ready(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	store := node.KV()
	run := (&load.Load{Op: "get", Callers: bigReadCallers, Duration: 20 * time.Second, Keys: n, Target: load.Target{
		Get: func(ctx context.Context, _ int, key []byte) error {
			_, err := store.Get(ctx, benchBucket, key, kv.Options{})
			return err
		},
	}}).Run(b.t.Context())
	if err := errors.Join(run.Last, node.Close()); err != nil {
		b.t.Error(err)
	}
	p50, p99 := run.Latency.Quantile(0.5), run.Latency.Quantile(0.99)
	say("gets in the node's process, %d callers: %.0f/s, p50 %s, p99 %s", bigReadCallers, float64(run.Latency.Total())/run.Elapsed.Seconds(), p50, p99)
	bar(b.t, p99 < bigLatencyBar, "get p99 in the node's process %s; bar %s", p99, bigLatencyBar)
	b.node.restart()
	b.connect()
}

// awaitShrunk waits until the files are in proportion to the live data.
func (b *benchNode) awaitShrunk(n int, limit time.Duration) {
	b.t.Helper()
	var live int64
	for i := 0; i < n; i += bigKept {
		live += int64(len(benchKey(i)) + bigValue)
	}
	var ratio float64
	began := time.Now()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for ; ; <-tick.C {
		_, files := b.files(".bolt")
		ratio = float64(files) / float64(live)
		say("%4.0f s after: files %s, live data %s: %.2f", time.Since(began).Seconds(), mb(files), mb(live), ratio)
		if ratio <= bigShrinkBar || time.Since(began) > limit {
			break
		}
	}
	b.sayState()
	bar(b.t, ratio <= bigShrinkBar, "files are %.2f times the live data; bar %.1f", ratio, bigShrinkBar)
}
