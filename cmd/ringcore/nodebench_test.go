//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/metadata/ring"
)

// The benches of a whole node, `make bench-start` and `make bench-big`, are loads
// for one process with default settings, and bars that it must keep. SOFT=1 only
// reports what it does not keep.

const (
	benchClients = 4       // connections
	benchFlight  = 512     // requests under way while loading
	benchBucket  = "bench" // as that of ringcore bench
)

// benchNode is a node and the client that loads it.
type benchNode struct {
	t       *testing.T
	node    *process
	clients []*client.Client
}

// setting is an environment variable that must be a number.
func setting(t *testing.T, name string, fallback int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// say prints at once: a bench takes minutes.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// bar reports whether a bar was kept.
func bar(t *testing.T, kept bool, format string, args ...any) {
	t.Helper()
	what := fmt.Sprintf(format, args...)
	switch {
	case kept:
		say("kept:   %s", what)
	case os.Getenv("SOFT") == "1":
		say("MISSED: %s", what)
	default:
		t.Errorf("MISSED: %s", what)
	}
}

func startBenchNode(t *testing.T, args ...string) *benchNode {
	t.Helper()
	b := &benchNode{t: t, node: startProcess(t, "n1", append([]string{"--replicas", "1", "--log-level", "warn"}, args...)...)}
	b.connect()
	return b
}

// connect opens the clients; those that there were are closed.
func (b *benchNode) connect() {
	b.t.Helper()
	b.disconnect()
	for range benchClients {
		c, err := client.Open(b.t.Context(), client.Config{Addrs: []string{b.node.addr}, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.t.Fatal(err)
		}
		b.clients = append(b.clients, c)
	}
}

func (b *benchNode) disconnect() {
	for _, c := range b.clients {
		_ = c.Close()
	}
	b.clients = nil
}

// each calls do with all of 0 to n-1, many at a time, always the same one of them for
// the same number, until one fails or ctx ends. It returns the rate.
func (b *benchNode) each(ctx context.Context, n int, do func(ctx context.Context, c *client.Client, i int) error) (perSecond float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var running sync.WaitGroup
	begin := time.Now()
	for w := range benchFlight {
		running.Go(func() {
			for i := w; i < n && ctx.Err() == nil; i += benchFlight {
				if err := do(ctx, b.clients[w%benchClients], i); err != nil {
					cancel(err)
				}
				done.Add(1)
			}
		})
	}
	running.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), context.Cause(ctx)
}

// benchRecord is what version of record i holds: it says so itself, and does not compress.
func benchRecord(i, version, size int) []byte {
	value := make([]byte, 0, size+32)
	value = strconv.AppendInt(value, int64(i), 10)
	value = append(value, ' ')
	value = strconv.AppendInt(value, int64(version), 10)
	value = append(value, ' ')
	draw := rand.NewPCG(uint64(i), uint64(version))
	for len(value) < size {
		value = fmt.Append(value, draw.Uint64())
	}
	return value[:size]
}

// wide is a size between 100 and 1,024 bytes, that of record i.
func wide(i int) int { return 100 + i*7919%925 }

func (b *benchNode) get(ctx context.Context, c *client.Client, i int) ([]byte, error) {
	obj, err := c.Get(ctx, benchBucket, benchKey(i), client.ReadOptions{})
	return obj.Value, err
}

// expect is an error unless record i is as version left it.
func (b *benchNode) expect(ctx context.Context, c *client.Client, i, version, size int) error {
	got, err := b.get(ctx, c, i)
	if err == nil && !bytes.Equal(got, benchRecord(i, version, size)) {
		err = fmt.Errorf("record %d is %.30q, not version %d of %d bytes", i, got, version, size)
	}
	return err
}

// onePerPartition is a record for each partition that has one of the first n, of q.
func onePerPartition(n, q int) []int {
	seen := make(map[ring.Partition]bool, q)
	var all []int
	for i := 0; i < n && len(seen) < q; i++ {
		if p := benchPartition(i, q); !seen[p] {
			seen[p] = true
			all = append(all, i)
		}
	}
	return all
}

func benchPartition(i, q int) ring.Partition {
	return ring.Locate(ring.HashKey(benchBucket, benchKey(i)), q)
}

// files is the number and the bytes of the node's files with a suffix, without its
// journal and raft's.
func (b *benchNode) files(suffix string) (count int, size int64) {
	b.t.Helper()
	dir := b.node.args[3] // of --data-dir
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // files come and go
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, suffix) || e.Name() == "journal.bolt" || strings.Contains(path, "/raft/") {
			return err
		}
		if info, err := e.Info(); err == nil {
			count++
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return count, size
}

// anonymous is the node's RssAnon in bytes.
func (b *benchNode) anonymous() (int64, error) {
	status, err := os.ReadFile(b.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the process's status has no RssAnon")
}

func (b *benchNode) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(b.node.cmd.Process.Pid), name)
}

func mb(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// memoryWatch looks at the node's memory all the time.
type memoryWatch struct {
	peak    atomic.Int64
	stop    chan struct{}
	running sync.WaitGroup
}

func (b *benchNode) watchMemory() *memoryWatch {
	w := &memoryWatch{stop: make(chan struct{})}
	w.running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if n, err := b.anonymous(); err != nil {
				b.t.Error(err)
				return
			} else if n > w.peak.Load() {
				w.peak.Store(n)
			}
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
		}
	})
	return w
}

func (w *memoryWatch) end() int64 {
	close(w.stop)
	w.running.Wait()
	return w.peak.Load()
}
