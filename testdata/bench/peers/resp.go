package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringcore/ringcore/client/load"
)

// The same connections, keys and pipelines for all; values are redis-benchmark's "VXK".
const (
	respConns     = 50
	respKeys      = 100_000
	respRingcore  = "Ringcore, 3 nodes, N=3, through one"
	respRedis     = "Redis, primary + 2 replicas, appendfsync always"
	setAcked      = "set, acknowledged by two"
	respPipelines = 2
)

// pipelines are how many commands are sent at a time.
func pipelines() [respPipelines]int { return [...]int{1, 16} }

// measureRESP measures through the Redis protocol. Sets that two nodes have acknowledged are
// Ringcore's SET as it is; Redis has for that WAIT, which redis-benchmark cannot send
// after each of its commands, and which inside a script or a transaction does not wait. So the
// loop of this file sends them, to both: as many SETs as the pipeline has, and behind them,
// to Redis, one WAIT 1: what acknowledges them all at the least cost. Everything else
// is redis-benchmark, to both; its sets to Redis wait for no replica.
func (o *options) measureRESP(ctx context.Context, r *report, work string) error {
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		r.Missing = append(r.Missing, "the Redis protocol: redis-benchmark is not installed")
		return nil
	}
	dir := filepath.Join(work, "resp")
	note("%s", respRingcore)
	procs, err := ringcoreNodes(ctx, o.ringcore, filepath.Join(dir, "ringcore"), 3)
	c, err := finish(procs, err, func(*cluster) error { return nil })
	if err != nil {
		return err
	}
	err = o.respOf(ctx, r, c, respRingcore, procs[0].field("resp"), 0, []getKind{
		{"get R=2", func() error { return setProps(ctx, procs[0].field("http"), "quorum") }},
		{"get R=1", func() error { return setProps(ctx, procs[0].field("http"), "one") }},
	})
	c.stop()
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		r.Missing = append(r.Missing, "Redis, through its protocol: redis-server is not installed")
		return nil
	}
	note("%s", respRedis)
	procs, primary, err := redisServers(ctx, filepath.Join(dir, "redis"), 2)
	if c, err = finish(procs, err, func(*cluster) error { return nil }); err != nil {
		return err
	}
	defer c.stop()
	return o.respOf(ctx, r, c, respRedis, primary, 1, []getKind{{"get", func() error { return nil }}})
}

// getKind is a name for gets, and how to have them.
type getKind struct {
	name    string
	prepare func() error
}

// setProps sets how many replicas of bucket default, which is RESP's, answer a read.
func setProps(ctx context.Context, addr, r string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+addr+"/v1/buckets/default", strings.NewReader(`{"r":"`+r+`"}`))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("properties of a bucket: %s: %s", resp.Status, b)
	}
	return nil
}

// respOf measures one system. wait is how many replicas a set waits for besides.
func (o *options) respOf(ctx context.Context, r *report, c *cluster, title, addr string, wait int, gets []getKind) error {
	measure := func(op string, pipeline int, do func() (*row, error)) error {
		x, err := o.quietest(c.pids(), do)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		x.System, x.Op, x.Callers, x.Detail = title, op, respConns, fmt.Sprintf("-P %d", pipeline)
		note("  %-26s -P %-2d  %8.0f/s  p50 %7.3f ms  p99 %8.3f ms  server CPU %6.1f s/M  others %2.0f %%", op, pipeline, x.Rate, x.P50, x.P99, x.ServerCPU, x.Others)
		r.RESP = append(r.RESP, *x)
		return nil
	}
	if err := respFill(ctx, addr); err != nil {
		return err
	}
	for _, p := range pipelines() {
		if err := measure(setAcked, p, func() (*row, error) { return respSets(ctx, addr, p, wait, o.duration) }); err != nil {
			return err
		}
	}
	for _, p := range pipelines() {
		if err := measure("set", p, func() (*row, error) { return redisBenchmark(ctx, addr, "set", p, respKeys, o.duration) }); err != nil {
			return err
		}
	}
	for _, kind := range gets {
		if err := kind.prepare(); err != nil {
			return err
		}
		for _, p := range pipelines() {
			if err := measure(kind.name, p, func() (*row, error) { return redisBenchmark(ctx, addr, "get", p, respKeys, o.duration) }); err != nil {
				return err
			}
		}
		// Without -r there is one key.
		if err := measure(kind.name+", one key", 16, func() (*row, error) { return redisBenchmark(ctx, addr, "get", 16, 0, o.duration) }); err != nil {
			return err
		}
	}
	return nil
}

// redisBenchmark is a run of redis-benchmark -t test -c 50 for about a while, which a
// short one before says how many requests are.
func redisBenchmark(ctx context.Context, addr, test string, pipeline, keys int, duration time.Duration) (*row, error) {
	probe := 1000 * pipeline
	r, err := redisBenchmarkOf(ctx, addr, test, pipeline, probe, keys)
	if err != nil {
		return nil, err
	}
	requests := max(probe, int(r.Rate*duration.Seconds()))
	r, err = redisBenchmarkOf(ctx, addr, test, pipeline, requests, keys)
	if err == nil {
		r.Ops += uint64(probe) // its CPU time counts too
	}
	return r, err
}

func redisBenchmarkOf(ctx context.Context, addr, test string, pipeline, requests, keys int) (*row, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	args := []string{"-h", host, "-p", port, "-t", test, "-c", strconv.Itoa(respConns), "-P", strconv.Itoa(pipeline), "-n", strconv.Itoa(requests), "--csv"}
	if keys > 0 {
		args = append(args, "-r", strconv.Itoa(keys))
	}
	cmd := exec.CommandContext(ctx, "redis-benchmark", args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("redis-benchmark: %w: %s%s", err, out, errOut.Bytes())
	}
	return parseBenchmark(string(out), requests)
}

// parseBenchmark reads the last line that redis-benchmark --csv prints: test, rps, and
// latencies: average, least, p50, p95, p99, greatest.
func parseBenchmark(out string, requests int) (*row, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	r := &row{Ops: uint64(requests)}
	for i, to := range map[int]*float64{1: &r.Rate, 4: &r.P50, 6: &r.P99} {
		if i >= len(fields) {
			return nil, fmt.Errorf("redis-benchmark printed %q", out)
		}
		v, err := strconv.ParseFloat(strings.Trim(fields[i], `"`), 64)
		if err != nil {
			return nil, fmt.Errorf("redis-benchmark printed %q: %w", out, err)
		}
		*to = v
	}
	return r, nil
}

// respSets sends pipeline SETs at a time on each connection, and behind them WAIT if wait is
// not 0, for a while. The latency is that of all of them together.
func respSets(ctx context.Context, addr string, pipeline, wait int, duration time.Duration) (*row, error) {
	var all load.Histogram
	var failed error
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for range respConns {
		wg.Go(func() {
			var h load.Histogram
			err := setLoop(ctx, addr, pipeline, wait, began.Add(duration), &h)
			mu.Lock()
			defer mu.Unlock()
			all.Add(&h)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	ops := all.Total() * uint64(pipeline)
	return &row{Ops: ops, Rate: float64(ops) / time.Since(began).Seconds(), P50: ms(all.Quantile(0.5)), P99: ms(all.Quantile(0.99))}, ctx.Err()
}

// respFill sets every key once.
func respFill(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	const batch = 1000
	for i := 0; i < respKeys; i += batch {
		var b []byte
		for k := range batch {
			b = appendSet(b, i+k)
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		for range batch {
			if err := readOK(in); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// appendSet is a SET of a key as redis-benchmark names them.
func appendSet(b []byte, key int) []byte {
	return fmt.Appendf(b, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$3\r\nVXK\r\n", key)
}

func readOK(in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err == nil && line != "+OK\r\n" {
		err = fmt.Errorf("SET was answered %q", line)
	}
	return err
}

// setLoop is one connection of respSets.
func setLoop(ctx context.Context, addr string, pipeline, wait int, end time.Time, h *load.Histogram) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	var batch []byte
	for time.Now().Before(end) && ctx.Err() == nil {
		batch = batch[:0]
		for range pipeline {
			batch = appendSet(batch, rand.IntN(respKeys))
		}
		if wait > 0 {
			batch = fmt.Appendf(batch, "*3\r\n$4\r\nWAIT\r\n$1\r\n%d\r\n$4\r\n5000\r\n", wait)
		}
		sent := time.Now()
		if _, err := c.Write(batch); err != nil {
			return err
		}
		for range pipeline {
			if err := readOK(in); err != nil {
				return err
			}
		}
		if wait > 0 {
			line, err := in.ReadString('\n')
			if n, bad := strconv.Atoi(strings.Trim(line, ":\r\n")); err != nil || bad != nil || n < wait {
				return fmt.Errorf("WAIT was answered %q: %v", line, err)
			}
		}
		h.Record(time.Since(sent))
	}
	return nil
}

// resp is a row of the Redis protocol; nil if it was not measured.
func (r *report) resp(system, op string, pipeline int) *row {
	for i := range r.RESP {
		if x := &r.RESP[i]; x.System == system && x.Op == op && x.Detail == fmt.Sprintf("-P %d", pipeline) {
			return x
		}
	}
	return nil
}

func (r *report) judgeRESP() {
	for _, b := range []struct {
		ours, theirs, what string
		times              float64
	}{
		{setAcked, setAcked, "sets to a Redis primary with two replicas and WAIT 1", 0.8},
		{"get R=1", "get", "gets with R=1 to Redis", 0.9},
	} {
		for _, p := range pipelines() {
			ours, theirs := r.resp(respRingcore, b.ours, p), r.resp(respRedis, b.theirs, p)
			ok, ratio := ours != nil && theirs != nil, 0.0
			if ok {
				ratio = ours.Rate / theirs.Rate
			}
			r.add(ok, fmt.Sprintf("Redis protocol, 50 connections, -P %d: %s", p, b.what), " times", ratio, b.times, false)
		}
	}
	ours, rate := r.resp(respRingcore, "get R=1", 16), 0.0
	if ours != nil {
		rate = ours.Rate / 1000
	}
	r.add(ours != nil, "Redis protocol, 50 connections, -P 16: gets with R=1", " thousand/s", rate, 300, false)
}
