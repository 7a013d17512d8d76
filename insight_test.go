package ringcore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// TestInsight: one node tells of all nodes what they do, what their vnodes hold, and what each holds of a key.
func TestInsight(t *testing.T) {
	n1 := testNode(t, Config{Name: "n1", Partitions: 8})
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	n3 := testNode(t, Config{Name: "n3", Join: []string{n1.Info().Addr}})
	settled(t, n1, n2, n3)
	for i := range 100 {
		if err := n1.KV().Put(t.Context(), "default", fmt.Append(nil, "key", i), []byte("value"), kv.Options{W: wire.QuorumAll, Timeout: 30 * time.Second}); err != nil {
			t.Fatal(err) // all three are counted
		}
		mustGet(t, n2, fmt.Sprint("key", i), "value")
	}
	t.Run("load", func(t *testing.T) { testLoad(t, n3) })
	t.Run("vnodes", func(t *testing.T) { testVnodes(t, n3) })
	t.Run("explain", func(t *testing.T) { testExplain(t, n1, n2, n3) })
	t.Run("logs", func(t *testing.T) { testLogs(t, n1) })
}

func testLoad(t *testing.T, asked *Node) {
	l, err := view{asked}.Load(t.Context())
	if err != nil || len(l.Nodes) != 3 || len(l.Silent) > 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	n1, n2, n3 := l.Nodes[0], l.Nodes[1], l.Nodes[2]
	if n1.Commands.Count != 100 || n1.Commands.Failed != 0 || n1.Commands.Seconds <= 0 {
		t.Errorf("n1's commands: %+v", n1.Commands)
	}
	if n2.Queries.Count != 100 || n3.Queries.Count+n3.Commands.Count != 0 {
		t.Errorf("queries: %+v, %+v: what nodes ask each other is not counted", n2.Queries, n3.Queries)
	}
	sum := uint64(0)
	for _, n := range n1.Commands.Buckets {
		sum += n
	}
	if sum != 100 || len(n1.Commands.Buckets) > len(l.BucketUS)+1 {
		t.Errorf("buckets %v", n1.Commands.Buckets)
	}
	for _, n := range l.Nodes {
		if n.Records+int64(n.Unopened) < 100 || n.Unopened == 0 && n.Records != 100 || n.DiskTotal == 0 || n.CPUSeconds <= 0 || n.Memory <= 0 {
			t.Errorf("%+v", n)
		}
	}
}

func testVnodes(t *testing.T, asked *Node) {
	all, err := view{asked}.Vnodes(t.Context(), admin.VnodesQuery{})
	if err != nil || len(all.Vnodes) != 24 {
		t.Fatalf("%d vnodes, %v", len(all.Vnodes), err)
	}
	records, requests := int64(0), uint64(0)
	for _, v := range all.Vnodes {
		if v.Slot < 0 || v.Slot > 2 || v.State != "serving" && v.State != "idle" {
			t.Errorf("%+v", v)
		}
		if v.Records != nil {
			records += *v.Records
		}
		requests += v.Requests
	}
	if records != 300 || requests < 300 {
		t.Errorf("%d records, %d requests", records, requests)
	}
	if !slices.ContainsFunc(all.Vnodes, func(v admin.VnodeView) bool { return v.LatencyUS > 0 }) {
		t.Error("no request was timed")
	}
	p := 5
	some, err := view{asked}.Vnodes(t.Context(), admin.VnodesQuery{Node: "n2", Service: "kv", Partition: &p})
	if err != nil || len(some.Vnodes) != 1 || some.Vnodes[0].Node != "n2" || some.Vnodes[0].Partition != 5 {
		t.Errorf("%+v, %v", some, err)
	}
	p = 8
	if _, err := (view{asked}).Vnodes(t.Context(), admin.VnodesQuery{Partition: &p}); err == nil {
		t.Error("there is a partition 8 of 8")
	}
}

func testExplain(t *testing.T, n1, n2, n3 *Node) {
	explain := func(key string) admin.ExplainView {
		t.Helper()
		x, err := view{n1}.Explain(t.Context(), "default", []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	eventually(t, "all replicas have it", func() error { // the third may be on its way
		if x := explain("key7"); !x.Agree {
			return fmt.Errorf("%+v", x)
		}
		return nil
	})
	x := explain("key7")
	if len(x.Copies) != 3 || len(x.Preflist) != 3 || len(x.Hash) != 40 || x.Verdict != "The key exists: 3 replicas hold the same version." {
		t.Fatalf("%+v", x)
	}
	for i, c := range x.Copies {
		if c.Slot != i || c.Node != x.Preflist[i].Node || !c.Found || len(c.Values) != 1 || c.Values[0].Preview != "value" || !c.Values[0].Text || !strings.HasPrefix(c.By, "n") || time.Since(*c.Written) > time.Hour {
			t.Errorf("%+v", c)
		}
	}
	if x := explain("nobody"); !x.Agree || x.Copies[0].Found || !strings.Contains(x.Verdict, "ever heard of") {
		t.Errorf("%+v", x)
	}
	if _, err := n2.KV().Delete(t.Context(), "default", []byte("key8"), kv.Options{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted", func() error {
		if x := explain("key8"); !x.Agree || !x.Copies[2].Deleted || !strings.HasPrefix(x.Verdict, "The key was deleted") {
			return fmt.Errorf("%+v", x)
		}
		return nil
	})
	mustPut(t, n1, "binary", "\x00\x01\xff")
	if v := explain("binary").Copies[0].Values; len(v) != 1 || v[0].Text || v[0].Preview != "0001ff" {
		t.Errorf("%+v", v)
	}
	if err := n3.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 is missed", func() error {
		if x := explain("key7"); x.Agree || !strings.Contains(x.Verdict, "1 of 3 replicas could not be asked") {
			return fmt.Errorf("%+v", x)
		}
		return nil
	})
	mustPut(t, n1, "key7", "newer")
	eventually(t, "the hint is shown", func() error {
		x := explain("key7")
		if !slices.ContainsFunc(x.Copies, func(c admin.CopyView) bool { return c.For == "n3" && c.Slot == -1 && c.Found }) {
			return fmt.Errorf("%+v", x)
		}
		return nil
	})
}

func testLogs(t *testing.T, n *Node) {
	kept, _ := view{n}.Logs(t.Context(), 0)
	if !slices.ContainsFunc(kept, func(e admin.LogEntry) bool { return e.Message == "cluster born" }) {
		t.Errorf("%d lines, none of the cluster's birth", len(kept))
	}
}
