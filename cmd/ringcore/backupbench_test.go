//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

const backupBar = 128_000_000 // bytes of RssAnon that a backup under load adds to the node that is asked

// TestBackupBench backs up three nodes, three replicas, without load and under it, and
// once more what has changed; and restores that into two nodes, two replicas. RINGCORE_BENCH_BACKUP
// is how many records of a kilobyte.
func TestBackupBench(t *testing.T) {
	n := setting(t, "RINGCORE_BENCH_BACKUP", 0)
	if n == 0 {
		t.Skip("make bench-backup runs it")
	}
	b := startBenchNode(t, "--replicas", "3")
	n2 := startProcess(t, "n2", "--join", b.node.addr, "--log-level", "warn")
	n3 := startProcess(t, "n3", "--join", b.node.addr, "--log-level", "warn")
	settle(t, b.node, n2, n3)
	put := func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), backupValue(i), client.WriteOptions{})
	}
	rate, err := b.each(t.Context(), n, put)
	if err != nil {
		t.Fatal(err)
	}
	say("loaded: %d records of 1 kB, %.0f/s", n, rate)
	dir := t.TempDir()
	full, loaded, changed := filepath.Join(dir, "full"), filepath.Join(dir, "loaded"), filepath.Join(dir, "changed")
	b.backup("full, no load", full)

	stop, puts := b.putOn(put, n)
	pause := time.Now()
	until(t, "some seconds of load", func() error {
		if time.Since(pause) < 3*time.Second {
			return fmt.Errorf("%s", time.Since(pause))
		}
		return nil
	})
	alone := float64(puts.Swap(0)) / time.Since(pause).Seconds()
	before, err := b.anonymous()
	if err != nil {
		t.Fatal(err)
	}
	memory := b.watchMemory()
	begun := time.Now()
	b.backup("full, under load", loaded)
	beside := float64(puts.Swap(0)) / time.Since(begun).Seconds()
	stop()
	grown := memory.end() - before
	say("puts/s of 16 callers: %.0f alone, %.0f beside the backup", alone, beside)
	bar(t, grown < backupBar, "RssAnon of the node that was asked grew by %s; bar %s", mb(grown), mb(backupBar))

	if _, err := b.each(t.Context(), n/100, put); err != nil {
		t.Fatal(err)
	}
	b.backup("incremental, 1 % and the load's keys written anew", changed, "--base", loaded)
	begun = time.Now()
	b.node.ok("restore", changed, "--verify")
	say("verified in %s", round(time.Since(begun)))
	m1 := startProcess(t, "m1", "--partitions", "128", "--replicas", "2", "--log-level", "warn")
	m2 := startProcess(t, "m2", "--join", m1.addr, "--log-level", "warn")
	settle(t, m1, m2)
	done := tellDone(t, "restored into two nodes", m1.ok("restore", changed, "-o", "json"))
	if done.Records != int64(n) {
		t.Errorf("%d records restored of %d", done.Records, n)
	}
}

// backupValue is a kilobyte of which half compresses.
func backupValue(i int) []byte {
	r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)})
	half := make([]byte, 500)
	_, _ = r.Read(half)
	return append(half, bytes.Repeat([]byte("x"), 500)...)
}

// backup makes a backup and tells how long it took.
func (b *benchNode) backup(what, dir string, args ...string) {
	b.t.Helper()
	tellDone(b.t, what, b.node.ok(append([]string{"backup", dir, "-o", "json"}, args...)...))
}

func tellDone(t *testing.T, what, out string) (done backupDone) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		t.Fatal(err)
	}
	say("%s: %d records, %s in %.1f s: %.0f records/s, %s/s", what, done.Records, size(done.Bytes), done.TookS,
		float64(done.Records)/done.TookS, size(int64(float64(done.Bytes)/done.TookS)))
	return done
}

// putOn has 16 callers put keys until stop is called, and counts.
func (b *benchNode) putOn(put func(context.Context, *client.Client, int) error, keys int) (stop func(), puts *atomic.Int64) {
	ctx, cancel := context.WithCancel(b.t.Context())
	puts = new(atomic.Int64)
	var callers sync.WaitGroup
	for w := range 16 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if put(ctx, b.clients[w%benchClients], rand.IntN(keys)) == nil {
					puts.Add(1)
				}
			}
		})
	}
	return func() { cancel(); callers.Wait() }, puts
}
