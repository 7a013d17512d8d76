package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ringcore/ringcore/metadata"
)

// with makes p's next start one of another binary and environment; an empty binary is
// the one under test.
func (p *process) with(binary string, env ...string) {
	p.env, p.spawn = env, nil
	if binary != "" {
		p.spawn = startAs(binary)
	}
}

// startAs starts a command of ringcore with another binary.
func startAs(binary string) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		cmd.Path = binary
		return cmd.Start()
	}
}

// mixedNodes are n nodes with three replicas, on disk, all of one binary.
func mixedNodes(t *testing.T, n int, binary string, env ...string) []*process {
	t.Helper()
	dir := t.TempDir()
	var nodes []*process
	for i := range n {
		name := fmt.Sprint("n", i+1)
		p := &process{t: t, name: name, args: []string{"--name", name, "--data-dir", filepath.Join(dir, name), "--log-level", "warn"}}
		if i > 0 {
			p.args = append(p.args, "--join", nodes[0].addr)
		}
		p.with(binary, env...)
		p.start("--addr", "127.0.0.1:0")
		p.awaitReady()
		t.Cleanup(func() { p.kill() })
		nodes = append(nodes, p)
	}
	settle(t, nodes...)
	return nodes
}

// roll starts some of the nodes anew one by one, as change has them, each when the cluster
// has settled after the one before. Every other one is killed.
func roll(t *testing.T, nodes, some []*process, change func(*process)) {
	t.Helper()
	for i, p := range some {
		if i%2 == 0 {
			p.stop()
		} else {
			p.kill()
		}
		change(p)
		p.restart()
		settle(t, nodes...)
	}
}

// The binary that RINGCORE_UPGRADE_FROM names is rolled to the present one, held so that
// there is a way back, then back, and then for good, under load from clients of both: no
// error, and no wrong answer.
func TestUpgradeFrom(t *testing.T) {
	old := os.Getenv("RINGCORE_UPGRADE_FROM")
	if old == "" {
		t.Skip("make upgrade FROM=<commit> builds another binary and runs this")
	}
	nodes := mixedNodes(t, 3, old)
	loads := []*checkLoad{
		startCheck(t, nodes, nil, "--callers", "16"),
		startCheck(t, nodes, startAs(old), "--callers", "16"),
	}
	for _, change := range []func(*process){
		func(p *process) { p.with("", "RINGCORE_HOLD="+metadata.MetadataCapability+"=1") },
		func(p *process) { p.with(old) },
		func(p *process) { p.with("") },
	} {
		roll(t, nodes, nodes, change)
	}
	for i, l := range loads {
		v := l.verdict()
		v.tell(t)
		if v.Verdict != "ok" || len(v.Errors) > 0 || v.Puts == 0 || v.Gets == 0 {
			t.Errorf("load %d: %s with errors %v", i, v.Verdict, v.Errors)
		}
	}
}
