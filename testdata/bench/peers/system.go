package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/client/load"
)

// system is something to measure.
type system struct {
	name    string // for --only; several systems may share one
	title   string
	rival   bool   // its puts are replicated and durable
	missing string // why it cannot be measured; empty if it can
	// start starts the servers in a folder and waits until they serve.
	start func(ctx context.Context, dir string) (*cluster, error)
}

// cluster is a system's servers, and what to ask of them.
type cluster struct {
	procs      []*proc
	operations []operation
	close      func() // of the client; nil: none
}

// operation is one kind of requests.
type operation struct {
	op     string // put or get
	detail string // such as R=1
	target load.Target
}

// putGet is what most systems can do.
func putGet(t load.Target) []operation {
	return []operation{{op: "put", target: t}, {op: "get", target: t}}
}

func (c *cluster) pids() []int {
	var all []int
	for _, p := range c.procs {
		all = append(all, p.pid())
	}
	return all
}

func (c *cluster) stop() {
	if c.close != nil {
		c.close()
	}
	for _, p := range c.procs {
		p.stop()
	}
}

// systems are all that there are, in the order in which they are measured.
func systems(o *options) []system {
	redisMissing := ""
	if _, err := exec.LookPath("redis-server"); err != nil {
		redisMissing = "redis-server is not installed"
	}
	return []system{
		{name: "ringcore", title: ringcoreTitle, start: func(ctx context.Context, dir string) (*cluster, error) { return startRingcore(ctx, o, dir, 3) }},
		{name: "ringcore", title: ringcoreAlone, start: func(ctx context.Context, dir string) (*cluster, error) { return startRingcore(ctx, o, dir, 1) }},
		{name: "redis", title: redisTitle, rival: true, missing: redisMissing, start: startRedisReplicated},
		{name: "redis", title: redisAlone, missing: redisMissing, start: startRedisAlone},
		natsSystem(),
		etcdSystem(),
		olricSystem(),
	}
}

// peerNodes starts three processes of this program that serve a system, each with ports of
// its own; all know all. perNode are how many ports each needs.
func peerNodes(ctx context.Context, kind, dir string, perNode int) (procs []*proc, ports []int, err error) {
	const nodes = 3
	if ports, err = freePorts(nodes * perNode); err != nil {
		return nil, nil, err
	}
	self, err := exec.LookPath("/proc/self/exe")
	if err != nil {
		return nil, nil, err
	}
	var list []string
	for _, p := range ports {
		list = append(list, strconv.Itoa(p))
	}
	// They are started together: some are ready only when they have met.
	type started struct {
		p   *proc
		err error
	}
	results := make(chan started, nodes)
	for i := range nodes {
		go func() {
			p, err := startProc(ctx, filepath.Join(dir, fmt.Sprint("n", i+1)), nil, self,
				"serve", kind, "--node", strconv.Itoa(i), "--ports", strings.Join(list, ","), "--dir", "data")
			results <- started{p, err}
		}()
	}
	for range nodes {
		s := <-results
		if s.p != nil {
			procs = append(procs, s.p)
		}
		if s.err != nil {
			err = s.err
		}
	}
	return procs, ports, err
}

// finish is c with a client, or the servers stopped.
func finish(procs []*proc, err error, connect func(c *cluster) error) (*cluster, error) {
	c := &cluster{procs: procs}
	if err == nil {
		err = connect(c)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}
