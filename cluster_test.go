package ringcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// testNode starts a node on free ports; it is closed with the test.
func testNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := openTestNode(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func openTestNode(t *testing.T, cfg Config) (*Node, error) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	cfg.OneMachine = true
	if cfg.Logger == nil {
		cfg.Logger = testLogger()
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", cfg.Name, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return n, n.Ready(ctx)
}

// testLogger is silent unless RINGCORE_TEST_LOG says how much to tell.
func testLogger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("RINGCORE_TEST_LOG"))); err != nil {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// eventually waits until ok says nil; at most for a minute.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var err error
	for time.Now().Before(deadline) {
		if err = ok(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	t.Fatalf("%s: still not after a minute: %v", what, err)
}

// settled waits until every node knows that nothing moves any more.
func settled(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, n.cfg.Name+" settled", func() error {
			st := n.core.Load().meta.State()
			if !st.Settled() {
				return fmt.Errorf("target %v, %d transfers", st.Target != nil, len(st.Transfers))
			}
			for _, m := range st.Members {
				if m.Status == "joining" || m.Status == "leaving" {
					return fmt.Errorf("%s is %s", m.Name, m.Status)
				}
			}
			return nil
		})
	}
}

func owned(n *Node) map[string]int {
	c := n.core.Load()
	shares := make(map[string]int)
	for id, s := range ring.Shares(c.meta.Ring()) {
		shares[c.name(id)] = s.Owned
	}
	return shares
}

func mustPut(t *testing.T, n *Node, key, value string) {
	t.Helper()
	if err := n.KV().Put(t.Context(), "default", []byte(key), []byte(value), kv.Options{Timeout: 30 * time.Second}); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func mustGet(t *testing.T, n *Node, key, want string) {
	t.Helper()
	obj, err := n.KV().Get(t.Context(), "default", []byte(key), kv.Options{Timeout: 30 * time.Second})
	if err != nil || string(obj.Value) != want {
		t.Fatalf("get %s at %s: %q, %v; want %q", key, n.cfg.Name, obj.Value, err, want)
	}
}

func TestOneNodeKeepsItsDataOverARestart(t *testing.T) {
	dir := t.TempDir()
	n := testNode(t, Config{Name: "n1", Dir: dir})
	for i := range 100 {
		mustPut(t, n, fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = testNode(t, Config{Name: "n1", Dir: dir})
	for i := range 100 {
		mustGet(t, n, fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	if _, err := n.KV().Get(t.Context(), "default", []byte("nothing"), kv.Options{}); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("a key without value: %v", err)
	}
}

func TestJoinAndLeave(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint("replicas", replicas), func(t *testing.T) {
			n1 := testNode(t, Config{Name: "n1", Replicas: replicas})
			for i := range 200 {
				mustPut(t, n1, fmt.Sprint("key", i), fmt.Sprint("value", i))
			}
			n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
			settled(t, n1, n2)
			n3 := testNode(t, Config{Name: "n3"})
			if err := n3.Join(t.Context(), n2.Info().Addr, false); err != nil {
				t.Fatal(err)
			}
			settled(t, n1, n2, n3)
			t.Log(owned(n1))
			for _, n := range []*Node{n1, n2, n3} {
				for i := range 200 {
					mustGet(t, n, fmt.Sprint("key", i), fmt.Sprint("value", i))
				}
			}
			if err := n1.Leave(t.Context(), "n2"); err != nil {
				t.Fatal(err)
			}
			hasLeft(t, n2, n1, n3)
			settled(t, n1, n3)
			t.Log(owned(n1))
			for _, n := range []*Node{n1, n3} {
				for i := range 200 {
					mustGet(t, n, fmt.Sprint("key", i), fmt.Sprint("value", i))
				}
			}
		})
	}
}

// hasLeft waits until n has left its cluster and stopped.
func hasLeft(t *testing.T, n *Node, others ...*Node) {
	t.Helper()
	select {
	case <-n.Done():
	case <-time.After(time.Minute):
		for _, o := range append(others, n) {
			dump(t, o)
		}
		t.Fatalf("%s has not left", n.cfg.Name)
	}
}

// dump logs what a node knows and does.
func dump(t *testing.T, n *Node) {
	t.Helper()
	c := n.core.Load()
	st := c.meta.State()
	t.Logf("%s: epoch %d, %d transfers, target %v", n.cfg.Name, st.Epoch, len(st.Transfers), st.Target != nil)
	for _, m := range st.Members {
		t.Logf("  member %s %s, up %v, holds %d", m.Name, m.Status, c.live.Up(m.ID), st.Holds(m.ID))
	}
	for _, x := range st.Transfers {
		t.Logf("  transfer %s %v gen %d", x.ID, x.Step, x.Gen)
	}
	for _, p := range c.vnodes.Progress() {
		t.Logf("  drives %s %v %s: %d records of %d", p.Session.ID, p.Session.Step, p.Phase, p.Records, p.Total)
	}
}
