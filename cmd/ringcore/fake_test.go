package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// fakeCluster stands behind the real HTTP API: three members, 64 partitions, and
// a key/value store in a map.
type fakeCluster struct {
	admin.Hub

	mu       sync.Mutex
	down     bool              // n3 cannot be reached
	looks    int               // at the load
	missing  bool              // a listing does not see partition 7
	values   map[string]string // under "bucket key"
	props    map[string]wire.BucketProps
	requests []string // of the key/value API
	staged   []admin.PlanChange
}

var fakeNames = []string{"n1", "n2", "n3"}

func newFakeAPI(f *fakeCluster) *httptest.Server {
	f.values, f.props = map[string]string{}, map[string]wire.BucketProps{}
	return httptest.NewServer(admin.Handler(f, f.kv(), admin.Options{Logger: slog.New(slog.DiscardHandler)}))
}

func (f *fakeCluster) Ring(context.Context) (admin.RingView, error) {
	v := admin.RingView{ClusterID: "c1", Epoch: 9, Partitions: 64, Replicas: 3}
	for p := range 64 {
		v.Owners = append(v.Owners, []string{fakeNames[p%3], fakeNames[(p+1)%3], fakeNames[(p+2)%3]})
		v.Gens = append(v.Gens, 1)
	}
	return v, nil
}

func (f *fakeCluster) Members(context.Context) ([]admin.MemberView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var members []admin.MemberView
	for i, name := range fakeNames {
		members = append(members, admin.MemberView{
			Name: name, ID: fmt.Sprintf("%016x", i+1), Status: "valid", Up: name != "n3" || !f.down, Addr: fmt.Sprintf("127.0.0.1:74%d0", i),
			HTTP: fmt.Sprintf("127.0.0.1:74%d2", i), Weight: 1, Owned: 21, Slots: 64, PendingOwned: 21, PendingSlots: 64, Voter: true, Leader: i == 0,
		})
	}
	return members, nil
}

func (f *fakeCluster) Transfers(context.Context) (admin.TransfersView, error) {
	return admin.TransfersView{Waiting: 2, Active: []admin.TransferView{{
		Session: "s1", Kind: "move", Service: "kv", Partition: 5, Slot: 1, From: "n1", To: "n3", Phase: "fold",
		Records: 1000, Bytes: 2_500_000, Percent: 12.5, BytesPerS: 50_000, ETAS: 350,
	}}, Ended: fakeEnded(), Limits: fakeLimits()}, nil
}

// Status shows all that there is to show while n3 is down.
func (f *fakeCluster) Status(ctx context.Context) (admin.StatusView, error) {
	s := admin.StatusView{ClusterID: "c1", Epoch: 9, Partitions: 64, Replicas: 3}
	s.Members, _ = f.Members(ctx)
	s.Transfers, _ = f.Transfers(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.down {
		s.Slots = []admin.SlotsView{{Node: "n2", Service: "kv", State: "catching up", Partitions: []int{3, 4, 5, 9}}}
		return s, nil
	}
	s.Waiting = []admin.WaitView{{For: "n3", Partitions: 2}}
	s.Hints = []admin.HintsView{{For: "n3", Holders: []string{"n1", "n2"}, Slots: 20, Records: 1234}}
	s.Live = admin.LiveView{Short: 64, Minority: []int{1, 2, 3, 7}, Unreadable: []int{7}}
	s.Slots = []admin.SlotsView{{Node: "n2", Service: "counter", State: "waiting", Reason: "n3 may hold hints for it", Partitions: []int{3}}}
	s.Checks = []admin.NodeCheck{{Node: "n1", Check: admin.Check{Name: "disk", Detail: "1 of 10 MiB free"}}}
	s.Silent, s.Staged = []string{"n2"}, []string{"join n4"}
	return s, nil
}

func (f *fakeCluster) Repair(_ context.Context, req admin.RepairRequest) (admin.RepairStarted, error) {
	if req.Partition != nil && *req.Partition > 63 {
		return admin.RepairStarted{}, wire.Errorf(wire.BadRequest, "there is no partition %d: they are 0 to 63", *req.Partition)
	}
	started := admin.RepairStarted{ID: "r1", Partitions: 64, Nodes: []string{"n1", "n2"}}
	if req.Node == "n3" {
		started = admin.RepairStarted{ID: "r2", Partitions: 1, Nodes: []string{"n1"}, Skipped: []int{7}}
	}
	return started, nil
}

func (f *fakeCluster) Repairs(context.Context) (admin.RepairsView, error) {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := begun.Add(1500 * time.Millisecond)
	return admin.RepairsView{Repairs: []admin.RepairView{
		{ID: "r2", Node: "n1", Partitions: 1, Done: 1, Failed: 1, Started: begun, Ended: &ended, Errors: []string{"partition 8: it is moving"}},
		{ID: "r1", Node: "n1", Partitions: 40, Done: 40, Started: begun, Ended: &ended, Compared: 5000, Sent: 10, Received: 20, Unreached: []string{"n3"}},
		{ID: "r1", Node: "n2", Partitions: 24, Done: 24, Started: begun, Ended: &ended, Compared: 3000},
	}}, nil
}

func (f *fakeCluster) Preflist(_ context.Context, _ string, _ []byte, n int) ([]admin.PreflistEntry, error) {
	list := []admin.PreflistEntry{
		{Partition: 3, Index: "1", Slot: 0, Node: "n1", Role: admin.RolePrimary},
		{Partition: 3, Index: "1", Slot: 1, Node: "n2", Role: admin.RolePrimary},
		{Partition: 3, Index: "1", Slot: 2, Node: "n1", Role: admin.RoleFallback, For: "n3"},
	}
	if n > 0 && n < len(list) {
		list = list[:n]
	}
	return list, nil
}

func (f *fakeCluster) Join(_ context.Context, req admin.JoinRequest) error {
	if req.Seed == "127.0.0.1:1" {
		return wire.Errorf(wire.Refused, "this node holds data")
	}
	return nil
}

func (f *fakeCluster) Drain(context.Context, bool) error { return nil }

func (f *fakeCluster) Buckets(context.Context) ([]admin.BucketView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []admin.BucketView
	for _, name := range slices.Sorted(maps.Keys(f.props)) {
		list = append(list, admin.BucketView{Bucket: name, BucketProps: f.props[name]})
	}
	return list, nil
}

func (f *fakeCluster) Bucket(_ context.Context, name string) (wire.BucketProps, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.props[name], nil
}

func (f *fakeCluster) SetBucket(_ context.Context, name string, c wire.BucketChange) (wire.BucketProps, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.props[name] = f.props[name].With(&c)
	return f.props[name], nil
}

func (f *fakeCluster) Name() string                                  { return "n1" }
func (f *fakeCluster) Ready() (bool, []admin.Check)                  { return true, nil }
func (f *fakeCluster) Metrics() []admin.Metric                       { return nil }
func (f *fakeCluster) Events(ctx context.Context) <-chan admin.Event { return f.Subscribe(ctx) }

// kv answers as the key/value API does, from the map.
func (f *fakeCluster) kv() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"partition":3,"index":"68507889249886074290797726533575766546371837952","node":"n2","node_id":"0000000000000002"}`)
	})
	mux.HandleFunc("/v1/kv/{bucket}/{key}", f.key)
	mux.HandleFunc("/v1/kv/{bucket}", f.bucket)
	return mux
}

func (f *fakeCluster) note(r *http.Request) {
	q := maps.Clone(r.URL.Query())
	delete(q, "timeout")
	f.requests = append(f.requests, strings.TrimSuffix(r.Method+" "+r.URL.EscapedPath()+"?"+q.Encode(), "?"))
}

func (f *fakeCluster) key(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(r)
	key := r.PathValue("bucket") + " " + r.PathValue("key")
	value, found := f.values[key]
	switch {
	case r.PathValue("key") == "lost":
		problem.Write(w, r, wire.Errorf(wire.QuorumNotMet, "1 of 2 replicas answered"))
		return
	case r.PathValue("key") == "twins" && r.Method == "GET":
		w.Header().Set("X-Ringcore-Context", "both")
		w.WriteHeader(http.StatusMultipleChoices)
		fmt.Fprint(w, `["b25l","dHdv"]`)
		return
	case r.Method == "PUT" && found && r.Header.Get("If-None-Match") == "*",
		r.Method == "PUT" && r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != `"ctx"`:
		problem.Write(w, r, wire.Errorf(wire.Unmet, "the key is not as the condition says"))
		return
	case r.Method == "PUT":
		b, _ := io.ReadAll(r.Body)
		f.values[key] = string(b)
		w.WriteHeader(http.StatusNoContent)
		return
	case !found:
		problem.Write(w, r, wire.Errorf(wire.NotFound, "no such key"))
		return
	case r.Method == "DELETE":
		delete(f.values, key)
	}
	w.Header().Set("X-Ringcore-Context", "ctx")
	_, _ = io.WriteString(w, value)
}

func (f *fakeCluster) bucket(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(r)
	if r.Method == "DELETE" {
		n := len(f.values)
		clear(f.values)
		fmt.Fprintf(w, `{"complete":true,"missing":[],"deleted":%d}`, n)
		return
	}
	e := json.NewEncoder(w)
	for i, key := range slices.Sorted(maps.Keys(f.values)) {
		// The parts of two nodes arrive mixed up.
		line := map[string]any{"partition": 8 - i%2, "node": fakeNames[i%2]}
		if _, k, _ := strings.Cut(key, " "); r.URL.Query().Get("list") == "keys" {
			line["key"] = k
		} else {
			line["value"] = f.values[key]
		}
		_ = e.Encode(line)
	}
	if f.missing {
		fmt.Fprintln(w, `{"complete":false,"missing":[7],"error":{"code":"unavailable","detail":"unavailable: n3 does not answer"}}`)
		return
	}
	fmt.Fprintln(w, `{"complete":true,"missing":[]}`)
}
