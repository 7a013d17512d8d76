//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

const (
	startBar     = 3 * time.Second // from exec until it serves
	logBytes     = 512 << 20       // the engine's default limit
	quietPart    = 0               // the partition that is not written to while the log fills, so that the log stays
	startSamples = 20_000
)

// startTimes is how long after exec a node was ready, had answered a get rightly and
// stored a put, and had answered from each of its partitions.
type startTimes struct {
	ready, get, put, all time.Duration
	cpu                  time.Duration // that it had used when it was ready
}

// serving is when a node did its work.
func (s *startTimes) serving() time.Duration { return max(s.get, s.put) }

// benchCall does something about a record.
type benchCall func(ctx context.Context, c *client.Client, i int) error

// TestStartBench measures starts after kill -9: with a gigabyte of state and a full
// log, and with a thousand partitions. RINGCORE_BENCH_START is the state's megabytes.
func TestStartBench(t *testing.T) {
	size := setting(t, "RINGCORE_BENCH_START", 0)
	if size == 0 {
		t.Skip("make bench-start runs it")
	}
	t.Run("state", func(t *testing.T) { benchStartState(t, size) })
	t.Run("partitions", benchStartPartitions)
}

func benchStartState(t *testing.T, size int) {
	b := startBenchNode(t)
	n := size << 20 / (100 + 924/2)
	versions := make([]atomic.Int32, n) // acknowledged
	write := func(ctx context.Context, c *client.Client, i int) error {
		v := versions[i].Load() + 1
		err := c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, int(v), wide(i)), client.WriteOptions{})
		if err == nil {
			versions[i].Store(v)
		}
		return err
	}
	rate, err := b.each(t.Context(), n, write)
	if err != nil {
		t.Fatal(err)
	}
	say("loaded: %d records of 100 to 1,024 bytes, %.0f/s", n, rate)
	b.fillLog(n, write)
	probes := onePerPartition(n, 64)
	rand.Shuffle(len(probes), func(i, j int) { probes[i], probes[j] = probes[j], probes[i] })
	probe := func(ctx context.Context, c *client.Client, i int) error {
		got, err := b.get(ctx, c, i)
		if err != nil {
			return err
		}
		for v := int(versions[i].Load()); v <= int(versions[i].Load())+1; v++ { // one more may have been under way
			if string(got) == string(benchRecord(i, v, wide(i))) {
				return nil
			}
		}
		return fmt.Errorf("record %d is %.30q, version %d was acknowledged", i, got, versions[i].Load())
	}
	var rows [][]string
	for _, cache := range []string{"warm", "cold"} {
		if cache == "cold" {
			b.node.kill()
			if err := dropCaches(); err != nil {
				say("no start with a cold page cache: %v", err)
				b.node.restart()
				b.connect()
				continue
			}
		}
		count, files := b.files(".bolt")
		_, logs := b.files(".segment")
		times := b.start(probes, probe, write)
		rows = append(rows, []string{cache, fmt.Sprintf("%s in %d", mb(files), count), mb(logs), round(times.ready), round(times.cpu), round(times.get), round(times.put), round(times.all)})
		bar(t, times.all < startBar, "%s page cache: get and put %s after exec, each partition after %s; bar %s", cache, round(times.serving()), round(times.all), startBar)
	}
	if err := printTable(os.Stdout, "CACHE FILES LOG READY CPU FIRST-GET FIRST-PUT ALL-PARTITIONS", rows); err != nil {
		t.Fatal(err)
	}
	if _, err := b.each(t.Context(), startSamples, func(ctx context.Context, c *client.Client, _ int) error {
		return probe(ctx, c, rand.IntN(n))
	}); err != nil {
		t.Error("after the kill: ", err)
	}
}

// fillLog writes until the log is about as long as it may be, and kills the node
// under that load. What the quiet partition has in its table holds the log back.
func (b *benchNode) fillLog(n int, write benchCall) {
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	var killed atomic.Bool
	var running sync.WaitGroup
	for i := range n {
		if benchPartition(i, 64) == quietPart {
			if err := write(ctx, b.clients[0], i); err != nil {
				b.t.Fatal(err)
			}
			break
		}
	}
	running.Go(func() {
		for ctx.Err() == nil {
			_, err := b.each(ctx, n, func(ctx context.Context, c *client.Client, i int) error {
				if benchPartition(i, 64) == quietPart {
					return nil
				}
				return write(ctx, c, i)
			})
			if err != nil && !killed.Load() {
				b.t.Error("while the log fills: ", err)
				return
			}
		}
	})
	peak, limit := int64(0), time.Now().Add(3*time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		_, now := b.files(".segment")
		if now >= logBytes*98/100 || now < peak*8/10 && peak > logBytes/2 || time.Now().After(limit) {
			break
		}
		peak = max(peak, now)
	}
	killed.Store(true)
	b.node.kill()
	cancel()
	running.Wait()
	_, now := b.files(".segment")
	say("killed under load with %s of log, of %s that it may have", mb(now), mb(logBytes))
}

// start starts the node, which was killed, and asks for probes as soon as it is
// ready: for one, then for all at once.
func (b *benchNode) start(probes []int, get, put benchCall) (times startTimes) {
	b.t.Helper()
	begin := time.Now()
	b.node.restart()
	times.ready = time.Since(begin)
	var err error
	if times.cpu, err = load.CPUTime(b.node.cmd.Process.Pid); err != nil {
		b.t.Fatal(err)
	}
	b.connect()
	err = get(b.t.Context(), b.clients[0], probes[0])
	times.get = time.Since(begin)
	if err == nil {
		err = put(b.t.Context(), b.clients[0], probes[0])
		times.put = time.Since(begin)
	}
	if err == nil {
		_, err = b.each(b.t.Context(), len(probes), func(ctx context.Context, c *client.Client, n int) error { return get(ctx, c, probes[n]) })
		times.all = time.Since(begin)
	}
	if err != nil {
		b.t.Fatal("after the kill: ", err)
	}
	return times
}

// dropCaches makes the next reads come from the disk.
func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

func benchStartPartitions(t *testing.T) {
	const partitions, records, valueSize = 1024, 100_000, 100
	b := startBenchNode(t, "--partitions", fmt.Sprint(partitions))
	put := func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, 1, valueSize), client.WriteOptions{})
	}
	rate, err := b.each(t.Context(), records, put)
	if err != nil {
		t.Fatal(err)
	}
	probes := onePerPartition(records, partitions)
	if len(probes) != partitions {
		t.Fatalf("%d of %d partitions have records", len(probes), partitions)
	}
	say("loaded: %d records in %d partitions, %.0f/s", records, partitions, rate)
	b.node.kill()
	times := b.start(probes, func(ctx context.Context, c *client.Client, i int) error { return b.expect(ctx, c, i, 1, valueSize) }, put)
	fds, mapped := b.open()
	count, _ := b.files(".bolt")
	rows := [][]string{{fmt.Sprint(count), round(times.ready), round(times.cpu), round(times.get), round(times.put), round(times.all), fmt.Sprint(fds), fmt.Sprint(mapped)}}
	if err := printTable(os.Stdout, "FILES READY CPU FIRST-GET FIRST-PUT ALL-PARTITIONS OPEN-FILES MAPPED-FILES", rows); err != nil {
		t.Fatal(err)
	}
	bar(t, times.serving() < startBar, "%d partitions: get and put %s after exec; bar %s", partitions, round(times.serving()), startBar)
	bar(t, fds < partitions/2 && mapped < partitions/2, "%d partitions touched: %d files open, %d mapped; bar %d", partitions, fds, mapped, partitions/2)
}

// open is the number of files that the node has open, and of store files that it has mapped.
func (b *benchNode) open() (fds, mapped int) {
	b.t.Helper()
	entries, err := os.ReadDir(b.proc("fd"))
	maps, errMaps := os.ReadFile(b.proc("maps"))
	if err := errors.Join(err, errMaps); err != nil {
		b.t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); strings.HasSuffix(f[len(f)-1], ".bolt") {
			seen[f[len(f)-1]] = true
		}
	}
	return len(entries), len(seen)
}
