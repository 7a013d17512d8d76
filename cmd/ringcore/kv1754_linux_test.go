package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The run of riak_kv#1754, in which riak lost acknowledged writes almost every time:
// five nodes under the load of 40 clients on 10 keys, one operation per second each,
// n=3 and r=w=pr=pw=quorum; two more nodes join, and leave again later. It waited for
// 40 s before the join and 120 s before the leave, for riak to settle; here the next
// step begins when the one before is done and some load has passed.
const (
	kv1754Clients = 40
	kv1754Keys    = 10
	kv1754Calm    = 3 * time.Second // under load, before and after each step
)

// kv1754 runs it once on fresh nodes, at so many operations per second and client.
func kv1754(t *testing.T, rate float64) *verdict {
	var nodes []*process
	start := func(count int) (begun []*process) {
		for range count {
			args := []string{"--log-level", "warn", "--resp-addr", "off"}
			if len(nodes) > 0 {
				args = append(args, "--join", nodes[0].addr)
			}
			p := startProcess(t, fmt.Sprint("n", len(nodes)+1), args...)
			nodes, begun = append(nodes, p), append(begun, p)
		}
		return begun
	}
	five := start(5)
	five[0].ok("bucket", "set", "bench", "pr=quorum", "pw=quorum", "r=quorum", "w=quorum")
	load := startCheck(t, five, nil, "--callers", strconv.Itoa(kv1754Clients), "--keys", strconv.Itoa(kv1754Keys),
		"--rate", fmt.Sprint(rate*kv1754Clients), "--read-quorum", "quorum", "--write-quorum", "quorum")
	calm := func() { <-time.After(kv1754Calm) } // so that there is something to lose
	calm()                                      // the five may still be settling, as in the original
	two := start(2)
	settle(t, nodes...)
	calm()
	for _, p := range two {
		five[0].ok("cluster", "leave", p.name, "--commit")
	}
	for _, p := range two {
		p.awaitExit(exitOK)
	}
	settle(t, five...)
	calm()
	v := load.verdict()
	v.tell(t)
	for _, p := range five {
		p.kill()
	}
	return v
}

// `make soak-1754`: RINGCORE_SOAK_1754 is how often, RINGCORE_SOAK_RATE how many
// operations per second a client does.
func TestSoak1754(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("RINGCORE_SOAK_1754"))
	if err != nil {
		t.Skip("a long test: make soak-1754")
	}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(os.Getenv("RINGCORE_SOAK_RATE"), "x"), 64)
	if err != nil {
		t.Fatalf("RATE: %v", err)
	}
	s := &tally{name: fmt.Sprintf("riak_kv#1754 at %gx", rate)}
	for i := range rounds {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) { s.add(kv1754(t, rate)) })
	}
	s.judge(t, true, false)
	if len(s.errors) > 0 {
		t.Errorf("errors: %s", counts(s.errors))
	}
}
