package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringcore/ringcore/client/load"
)

// note tells how far the run is.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// measureSystem starts a system, writes every key once, and measures what it can do.
func (o *options) measureSystem(ctx context.Context, r *report, s system, work string) error {
	if !o.wants(s.name) {
		return nil
	}
	if s.missing != "" {
		r.Missing = append(r.Missing, s.title+": "+s.missing)
		note("%s: left out, %s", s.title, s.missing)
		return nil
	}
	note("%s", s.title)
	dir, err := os.MkdirTemp(work, s.name)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ours := s.title == ringcoreTitle
	if ours {
		if err := r.Limits.measure(ctx, dir); err != nil {
			return err
		}
	}
	if err := o.measureCluster(ctx, r, s, dir); err != nil {
		return err
	}
	if ours {
		return r.Limits.measure(ctx, dir)
	}
	return nil
}

func (o *options) measureCluster(ctx context.Context, r *report, s system, dir string) error {
	c, err := s.start(ctx, dir)
	if err != nil {
		return err
	}
	defer c.stop()
	l := load.Load{Duration: o.duration, Keys: o.keys, Sizes: load.Size(100), Target: c.operations[0].target}
	if err := l.Fill(ctx); err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	for _, op := range c.operations {
		for _, callers := range o.callers {
			l.Op, l.Target, l.Callers = op.op, op.target, callers
			row, err := o.quietest(c.pids(), func() (*row, error) { return runLoad(ctx, &l) })
			if err != nil {
				return err
			}
			row.System, row.Rival, row.Op, row.Detail, row.Callers = s.title, s.rival, op.op, op.detail, callers
			if row.Errors > 0 {
				return fmt.Errorf("%s %s with %d callers: %d errors, for example: %s", op.op, op.detail, callers, row.Errors, row.LastError)
			}
			note("  %-4s %-4s %4d callers  %8.0f/s  p50 %7.3f ms  p99 %8.3f ms  server CPU %6.1f s/M  client %5.1f  others %2.0f %%",
				row.Op, row.Detail, callers, row.Rate, row.P50, row.P99, row.ServerCPU, row.ClientCPU, row.Others)
			r.Rows = append(r.Rows, *row)
		}
	}
	return nil
}

// runLoad is one measurement, but for the CPU time.
func runLoad(ctx context.Context, l *load.Load) (*row, error) {
	res := l.Run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	h := &res.Latency
	r := &row{
		Ops: h.Total(), Errors: res.Errors, Rate: float64(h.Total()) / res.Elapsed.Seconds(),
		P50: ms(h.Quantile(0.5)), P99: ms(h.Quantile(0.99)),
	}
	if res.Last != nil {
		r.LastError = res.Last.Error()
	}
	return r, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quietest makes a measurement, and again if others took too much of the machine
// meanwhile; of several it is the one with the fewest others. It adds the CPU time of this
// process, of children that have ended meanwhile, and of the servers.
func (o *options) quietest(servers []int, do func() (*row, error)) (*row, error) {
	var best *row
	for range o.tries {
		before, err := usage(servers)
		if err != nil {
			return nil, err
		}
		r, err := do()
		if err != nil {
			return nil, err
		}
		after, err := usage(servers)
		if err != nil {
			return nil, err
		}
		if r.Ops > 0 {
			million := float64(r.Ops) / 1e6
			own, theirs := after.own-before.own, after.servers-before.servers
			r.ClientCPU, r.ServerCPU = own.Seconds()/million, theirs.Seconds()/million
			r.Others = max(0, (after.busy-before.busy-own-theirs).Seconds()/(after.all-before.all).Seconds()*100)
		}
		if best == nil || r.Others < best.Others {
			best = r
		}
		if best.Others <= o.quiet {
			break
		}
	}
	return best, nil
}

// cpuUsage is CPU time until now.
type cpuUsage struct {
	own, servers time.Duration
	busy, all    time.Duration // of the machine; all has what it was idle too
}

func usage(servers []int) (u cpuUsage, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			return u, err
		}
		u.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	for _, pid := range servers {
		t, err := load.CPUTime(pid)
		if err != nil {
			return u, err
		}
		u.servers += t
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	for i, f := range bytes.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("/proc/stat: %w", err)
		}
		d := time.Duration(n) * 10 * time.Millisecond
		u.all += d
		if i != 3 && i != 4 {
			u.busy += d
		}
	}
	return u, nil
}

// limits are what this disk and loopback can do, measured several times.
type limits struct {
	Sync []float64 `json:"fdatasync_ms"`  // p50 of three loops at once
	Trip []float64 `json:"round_trip_ms"` // p50 of 100 bytes to another process and back
}

// measure adds a measurement of a second each.
func (l *limits) measure(ctx context.Context, dir string) error {
	syncs, err := syncLoops(dir)
	if err != nil {
		return err
	}
	trips, err := roundTrips(ctx, dir)
	if err != nil {
		return err
	}
	l.Sync, l.Trip = append(l.Sync, ms(syncs.Quantile(0.5))), append(l.Trip, ms(trips.Quantile(0.5)))
	return nil
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// syncLoops are three loops at once that write 512 bytes and sync them, each to a file of
// its own that has its blocks.
func syncLoops(dir string) (*load.Histogram, error) {
	const loops, size, block = 3, 4 << 20, 512
	var all load.Histogram
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	end := time.Now().Add(time.Second)
	for i := range loops {
		wg.Go(func() {
			var h load.Histogram
			err := func() error {
				f, err := os.Create(filepath.Join(dir, fmt.Sprint("sync", i)))
				if err != nil {
					return err
				}
				defer os.Remove(f.Name())
				defer f.Close()
				if _, err := f.Write(make([]byte, size)); err != nil {
					return err
				}
				if err := f.Sync(); err != nil {
					return err
				}
				for at := int64(0); time.Now().Before(end); at = (at + block) % size {
					began := time.Now()
					if _, err := f.WriteAt(make([]byte, block), at); err != nil {
						return err
					}
					if err := syscall.Fdatasync(int(f.Fd())); err != nil {
						return err
					}
					h.Record(time.Since(began))
				}
				return nil
			}()
			mu.Lock()
			defer mu.Unlock()
			all.Add(&h)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	return &all, failed
}

// roundTrips sends 100 bytes to another process, which sends them back, again and again.
func roundTrips(ctx context.Context, dir string) (*load.Histogram, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	p, err := startProc(ctx, filepath.Join(dir, "echo"), nil, "/proc/self/exe", "serve", "echo", "--ports", strconv.Itoa(ports[0]))
	if p != nil {
		defer p.stop()
	}
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", at(ports[0]))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var h load.Histogram
	b := make([]byte, 100)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		began := time.Now()
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		h.Record(time.Since(began))
	}
	return &h, nil
}

// machine says on what was measured.
func machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}
