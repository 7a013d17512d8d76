package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// raftOf is what p says of the ring: its epoch, and who leads.
func raftOf(p *process) (epoch ring.Epoch, leader string, voters []string, err error) {
	var view struct{ Epoch ring.Epoch }
	var members []struct {
		Name          string
		Leader, Voter bool
	}
	if err := errors.Join(p.get("/v1/ring", &view), p.get("/v1/members", &members)); err != nil {
		return 0, "", nil, err
	}
	for _, m := range members {
		if m.Leader {
			leader = m.Name
		}
		if m.Voter {
			voters = append(voters, m.Name)
		}
	}
	return view.Epoch, leader, voters, nil
}

// inGeneration waits until all of nodes are of a generation and follow one leader.
func inGeneration(t *testing.T, generation uint64, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		until(t, fmt.Sprintf("%s follows generation %d", p.name, generation), func() error {
			epoch, leader, _, err := raftOf(p)
			_, first, _, ferr := raftOf(nodes[0])
			if err != nil || ferr != nil || epoch.Generation() != generation || leader == "" || leader != first {
				return fmt.Errorf("generation %d, leader %q, %s says %q, %w", epoch.Generation(), leader, nodes[0].name, first, errors.Join(err, ferr))
			}
			return nil
		})
	}
}

// recoverable starts a cluster whose nodes keep all their addresses when they start again.
func recoverable(t *testing.T, size int) []*process {
	t.Helper()
	args := []string{"--replicas", fmt.Sprint(size), "--partitions", "16"}
	var nodes []*process
	for i := range size {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		gossip := ln.Addr().String()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			args = []string{"--join", nodes[0].addr}
		}
		nodes = append(nodes, startProcess(t, fmt.Sprint("n", i+1), append(args, "--gossip-addr", gossip)...))
	}
	settle(t, nodes...)
	until(t, "three voters", func() error {
		_, _, voters, err := raftOf(nodes[0])
		if err == nil && len(voters) != 3 {
			err = fmt.Errorf("voters %v", voters)
		}
		return err
	})
	return nodes
}

// again starts a stopped node where it was, and does not wait until it serves.
func (p *process) again() {
	p.t.Helper()
	p.start("--addr", p.addr, "--http-addr", p.http, "--resp-addr", p.resp)
}

// split divides nodes into raft's voters and the others.
func split(t *testing.T, nodes []*process) (voters, others []*process) {
	t.Helper()
	_, _, names, err := raftOf(nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range nodes {
		if slices.Contains(names, p.name) {
			voters = append(voters, p)
		} else {
			others = append(others, p)
		}
	}
	return voters, others
}

func putOne(p *process, key, value string) error {
	status, body, err := kvRequest(p, http.MethodPut, key+"?w=1", value)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("put %s at %s: %d %s", key, p.name, status, body)
	}
	return err
}

func getOne(p *process, key, want string) error {
	status, body, err := kvRequest(p, http.MethodGet, key+"?r=1", "")
	if err == nil && (status != http.StatusOK || body != want) {
		err = fmt.Errorf("get %s at %s: %d %s, want %s", key, p.name, status, body, want)
	}
	return err
}

// noRingChange tries one and expects the refusal that says why.
func noRingChange(t *testing.T, p *process) {
	t.Helper()
	_, stderr, code := p.ringcore("cluster", "leave", p.name, "--commit")
	if code != exitFailed || !strings.Contains(stderr, "the ring cannot change") || !strings.Contains(stderr, "unavailable") || !strings.Contains(stderr, "ringcore recover") {
		t.Errorf("a leave without a majority: exit %d, %s", code, stderr)
	}
}

// TestRecover loses all three voters of five nodes. The data is served on, the ring cannot
// change, one node that is left is recovered and the other follows. The lost ones, started
// where they cannot reach those, serve their own side; when they meet they follow, and what
// they have taken is not lost.
func TestRecover(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := recoverable(t, 5)
	lost, left := split(t, nodes)
	for i := range 20 {
		if err := putOne(nodes[i%5], fmt.Sprint("k", i), fmt.Sprint("v", i)); err != nil {
			t.Fatal(err)
		}
	}
	dir := left[0].args[slices.Index(left[0].args, "--data-dir")+1]
	if _, stderr, code := left[0].ringcore("recover", "--data-dir", dir, "--yes"); code != exitRefused || !strings.Contains(stderr, "in use") {
		t.Errorf("recover of a running node: exit %d, %s", code, stderr)
	}
	left[0].stop()
	if _, stderr, code := left[0].ringcore("recover", "--data-dir", dir, "--yes"); code != exitRefused || !strings.Contains(stderr, "3 of 3 voters are there") {
		t.Errorf("recover with a majority: exit %d, %s", code, stderr)
	}
	left[0].again()
	left[0].awaitReady()
	for _, p := range lost {
		p.kill()
	}
	for i := range 20 {
		until(t, "keys are read", func() error { return getOne(left[i%2], fmt.Sprint("k", i), fmt.Sprint("v", i)) })
		until(t, "keys are written", func() error { return putOne(left[i%2], fmt.Sprint("k", i), fmt.Sprint("w", i)) })
	}
	noRingChange(t, left[1])

	left[0].stop()
	stdout, stderr, code := left[0].ringcore("recover", "--data-dir", dir)
	if code != exitRefused || !strings.Contains(stdout, "would begin generation 1") || !strings.Contains(stderr, "--yes") {
		t.Errorf("recover without --yes: exit %d, %s%s", code, stdout, stderr)
	}
	left[0].ok("recover", "--data-dir", dir, "--yes")
	left[0].again()
	left[0].awaitReady()
	inGeneration(t, 1, left...)
	left[1].ok("bucket", "set", "carts", "siblings=true") // through raft
	for i := range 20 {
		until(t, "keys are read after the recovery", func() error { return getOne(left[i%2], fmt.Sprint("k", i), fmt.Sprint("w", i)) })
	}

	// The worst case: the former majority meets nobody who could tell it.
	left[0].stop()
	left[1].stop()
	for _, p := range lost {
		p.again()
	}
	for _, p := range lost {
		p.awaitReady()
	}
	inGeneration(t, 0, lost...)
	until(t, "the former majority serves", func() error { return putOne(lost[0], "theirs", "x") })
	left[0].again()
	left[0].awaitReady()
	left[1].again()
	left[1].awaitReady()
	inGeneration(t, 1, append(left, lost...)...)
	until(t, "what it took is not lost", func() error { return getOne(left[0], "theirs", "x") })
	for i := range 20 {
		until(t, "all have the newest", func() error { return getOne(lost[i%3], fmt.Sprint("k", i), fmt.Sprint("w", i)) })
	}
	var bucket struct{ Siblings bool }
	if err := lost[1].get("/v1/buckets/carts", &bucket); err != nil || !bucket.Siblings {
		t.Errorf("what was committed after the recovery: %+v, %v", bucket, err)
	}
}

// TestRecoveredWithoutUs: two of three voters are lost, come back alone and change the
// ring on their side. When they meet the recovered node they stop, and do not start again.
func TestRecoveredWithoutUs(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := recoverable(t, 3)
	lost, left := nodes[:2], nodes[2]
	dir := left.args[slices.Index(left.args, "--data-dir")+1]
	for _, p := range lost {
		p.kill()
	}
	left.stop()
	left.ok("recover", "--data-dir", dir, "--yes")
	for _, p := range lost {
		p.again()
	}
	for _, p := range lost {
		p.awaitReady()
	}
	inGeneration(t, 0, lost...)
	lost[0].ok("bucket", "set", "carts", "siblings=true")
	until(t, "both know it", func() error {
		a, _, _, aerr := raftOf(lost[0])
		b, _, _, berr := raftOf(lost[1])
		if a != b {
			aerr = fmt.Errorf("epochs %d and %d", a, b)
		}
		return errors.Join(aerr, berr)
	})
	left.again()
	left.awaitReady()
	for _, p := range lost {
		p.awaitExit(exitFailed)
		if !strings.Contains(p.said(), "the cluster was recovered without this node") {
			t.Errorf("%s ended: %s", p.name, p.said())
		}
		p.again()
		p.awaitExit(exitFailed)
	}
	epoch, leader, voters, err := raftOf(left)
	if err != nil || epoch.Generation() != 1 || leader != left.name || !slices.Equal(voters, []string{left.name}) {
		t.Errorf("epoch %d, leader %s, voters %v, %v", epoch, leader, voters, err)
	}
}
