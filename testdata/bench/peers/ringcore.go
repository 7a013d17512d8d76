package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

const (
	ringcoreTitle = "Ringcore, 3 nodes, N=3 W=2, fdatasync"
	ringcoreAlone = "Ringcore, 3 nodes, N=1, fdatasync"
)

// field is a field of the line with which a node of Ringcore says that it serves.
func (p *proc) field(name string) string {
	for f := range strings.FieldsSeq(p.ready) {
		if v, ok := strings.CutPrefix(f, name+"="); ok {
			return v
		}
	}
	return ""
}

// ringcoreNodes starts three nodes and waits until nothing moves.
func ringcoreNodes(ctx context.Context, binary, dir string, replicas int) (procs []*proc, err error) {
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	for i := range 3 {
		name := fmt.Sprint("n", i+1)
		args := []string{"start", "--name", name, "--data-dir", "data", "--addr", "127.0.0.1:0", "--log-level", "warn"}
		if i == 0 {
			args = append(args, "--replicas", strconv.Itoa(replicas))
		} else {
			args = append(args, "--join", procs[0].field("addr"))
		}
		p, err := startProc(ctx, filepath.Join(dir, name), nil, binary, args...)
		if p != nil {
			procs = append(procs, p)
		}
		if err != nil {
			return procs, err
		}
	}
	for _, p := range procs {
		if err := p.until(ctx, "ringcore settles", func(ctx context.Context) bool { return settled(ctx, p.field("http")) }); err != nil {
			return procs, err
		}
	}
	return procs, nil
}

// settled reports whether a node knows three members that are up and hold partitions, and
// nothing moves.
func settled(ctx context.Context, addr string) bool {
	var members []struct {
		Status string
		Up     bool
		Slots  int
	}
	var moving struct {
		Active  []json.RawMessage
		Waiting int
	}
	if ask(ctx, addr, "/v1/members", &members) != nil || ask(ctx, addr, "/v1/transfers", &moving) != nil {
		return false
	}
	for _, m := range members {
		if m.Status != "valid" || !m.Up || m.Slots == 0 {
			return false
		}
	}
	return len(members) == 3 && len(moving.Active) == 0 && moving.Waiting == 0
}

// ask reads JSON from a node.
func ask(ctx context.Context, addr, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

func startRingcore(ctx context.Context, o *options, dir string, replicas int) (*cluster, error) {
	procs, err := ringcoreNodes(ctx, o.ringcore, dir, replicas)
	return finish(procs, err, func(c *cluster) error {
		var addrs []string
		for _, p := range procs {
			addrs = append(addrs, p.field("addr"))
		}
		cl, err := client.Open(ctx, client.Config{Addrs: addrs, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		c.close = func() { cl.Close() }
		put := func(ctx context.Context, _ int, key, value []byte) error {
			return cl.Put(ctx, "bench", key, value, client.WriteOptions{})
		}
		get := func(r client.Quorum) load.Target {
			return load.Target{Put: put, Get: func(ctx context.Context, _ int, key []byte) error {
				_, err := cl.Get(ctx, "bench", key, client.ReadOptions{R: r})
				return err
			}}
		}
		if replicas == 1 {
			c.operations = putGet(get(1))
			return nil
		}
		c.operations = []operation{{op: "put", target: get(1)}, {op: "get", detail: "R=1", target: get(1)}, {op: "get", detail: "R=2", target: get(2)}}
		return nil
	})
}
