//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

const (
	moveBar      = 150_000.0 // records a second with one replica and no load
	moveLoadBar  = 60_000.0  // the same under load
	moveP99Bar   = 2.0       // p99 of clients while records move, against before
	moveStallBar = 50 * time.Millisecond
	moveSyncBar  = 2 * time.Millisecond // the stall counts where the disk syncs faster than that
	joinEmptyBar = 2 * time.Second
	moveLoad     = 0.2 // of the most that the cluster does
	moveMeasure  = 5 * time.Second
)

// TestTransfersBench joins a fourth node to three that hold many records, and has it
// leave, with no load and under it. RINGCORE_BENCH_TRANSFERS is how many records.
func TestTransfersBench(t *testing.T) {
	n := setting(t, "RINGCORE_BENCH_TRANSFERS", 0)
	if n == 0 {
		t.Skip("make bench-transfers runs it")
	}
	replicas := os.Getenv("RINGCORE_BENCH_REPLICAS")
	if replicas == "" {
		replicas = "1,3"
	}
	for r := range strings.SplitSeq(replicas, ",") {
		count, err := strconv.Atoi(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("replicas "+r, func(t *testing.T) { newMoveBench(t, n, count).run() })
	}
}

// moveBench is a cluster of three and what is measured of it.
type moveBench struct {
	*benchNode
	records, replicas int
	nodes             []*process
	perPartition      map[int]int
	loader            *openLoad
	sync              time.Duration // p99 of fdatasync
}

func newMoveBench(t *testing.T, records, replicas int) *moveBench {
	b := &moveBench{records: records, replicas: replicas, perPartition: make(map[int]int)}
	b.sync = syncTime(t)
	say("\n%d records of %d bytes, %d replicas; fdatasync p99 %s", records, bigValue, replicas, b.sync.Round(10*time.Microsecond))
	for i := 1; i <= 3; i++ {
		began := time.Now()
		b.nodes = append(b.nodes, b.startNode(t, "n"+strconv.Itoa(i)))
		settle(t, b.nodes...)
		if took := time.Since(began); i > 1 {
			bar(t, took < joinEmptyBar, "node %d with no data has joined and settled after %.2f s, its start included; bar %s", i, took.Seconds(), joinEmptyBar)
		}
	}
	b.benchNode = &benchNode{t: t, node: b.nodes[0]}
	b.connect()
	for i := range records {
		b.perPartition[int(benchPartition(i, 64))]++
	}
	return b
}

func (b *moveBench) startNode(t *testing.T, name string) *process {
	t.Helper()
	args := []string{"--replicas", strconv.Itoa(b.replicas), "--log-level", "warn"}
	if len(b.nodes) > 0 {
		args = append(args, "--join", b.nodes[0].addr)
	}
	return startProcess(t, name, args...)
}

func (b *moveBench) run() {
	rate, err := b.each(b.t.Context(), b.records, func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, 1, bigValue), client.WriteOptions{})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	say("loaded at %.0f/s", rate)
	joined := b.join("n4", "no load", moveBar)
	b.leave(joined, "no load", moveBar)

	b.loader = newOpenLoad(b)
	most := b.loader.most()
	b.loader.start(most * moveLoad)
	defer b.loader.stop()
	b.loader.measure("before", func() { <-time.After(moveMeasure) })
	say("load of %.0f op/s, %.0f %% of %.0f; p99 %.2f ms before", most*moveLoad, moveLoad*100, most, ms(b.loader.before))
	joined = b.join("n5", "load", moveLoadBar)
	b.leave(joined, "load", moveLoadBar)
	b.loader.stop()
	for _, err := range b.loader.wrong() {
		b.t.Error(err)
	}
	bar(b.t, len(b.loader.wrong()) == 0, "%d wrong answers, %d errors of %d; bar 0", len(b.loader.wrong()), b.loader.failed(), b.loader.asked())
	if _, err := b.each(b.t.Context(), b.records, func(ctx context.Context, c *client.Client, i int) error {
		if i%10 != 0 && i > 100_000 {
			return nil
		}
		return b.loader.expectFinal(ctx, c, i)
	}); err != nil {
		b.t.Error(err)
	}
}

// join adds a node and waits until nothing moves any more.
func (b *moveBench) join(name, load string, least float64) *process {
	b.t.Helper()
	before := b.slots()
	var joined *process
	b.time("join", load, least, func() int {
		joined = b.startNode(b.t, name)
		b.nodes = append(b.nodes, joined)
		settle(b.t, b.nodes...)
		return b.moved(before, b.slots())
	})
	return joined
}

// leave has a node leave and waits until it has.
func (b *moveBench) leave(p *process, load string, least float64) {
	b.t.Helper()
	before := b.slots()
	b.time("leave", load, least, func() int {
		b.nodes[0].ok("cluster", "leave", p.name, "--commit")
		b.nodes = b.nodes[:len(b.nodes)-1]
		settle(b.t, b.nodes...)
		p.awaitExit(0)
		return b.moved(before, b.slots())
	})
}

// time measures a change of the cluster; do returns how many records it has moved.
func (b *moveBench) time(what, load string, least float64, do func() int) {
	b.t.Helper()
	var moved int
	var took time.Duration
	run := func() {
		began := time.Now()
		moved = do()
		took = time.Since(began)
	}
	if b.loader == nil {
		run()
	} else {
		b.loader.measure(what, run)
	}
	rate := float64(moved) / took.Seconds()
	report := fmt.Sprintf("%s, %s: %d records in %.2f s, %.0f/s", what, load, moved, took.Seconds(), rate)
	if b.replicas == 1 {
		bar(b.t, rate >= least, "%s; bar %.0f", report, least)
	} else {
		say("        %s", report)
	}
	if b.loader != nil {
		b.loader.report(b.t, b.sync)
	}
}

// slots are the nodes of each partition.
func (b *moveBench) slots() [][]string {
	b.t.Helper()
	var r admin.RingView
	if err := b.nodes[0].get("/v1/ring", &r); err != nil {
		b.t.Fatal(err)
	}
	return r.Owners
}

// moved is how many records have come to a node that did not have them.
func (b *moveBench) moved(before, after [][]string) (n int) {
	for p := range after {
		for _, node := range after[p] {
			if !slices.Contains(before[p], node) {
				n += b.perPartition[p]
			}
		}
	}
	return n
}

// syncTime is the p99 of a small write that is synced.
func syncTime(t *testing.T) time.Duration {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	if err != nil {
		t.Fatal(err)
	}
	var h load.Histogram
	for range 300 {
		began := time.Now()
		_, err = f.Write(make([]byte, 512))
		if err = errors.Join(err, syscall.Fdatasync(int(f.Fd()))); err != nil {
			t.Fatal(err)
		}
		h.Record(time.Since(began))
	}
	return h.Quantile(0.99)
}
