package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode answers with what a test puts in.
type fakeNode struct {
	admin.Hub

	mu       sync.Mutex // guards what a test changes while the node is asked
	err      error      // answered by every view and change
	notReady bool
	joins    []admin.JoinRequest
	changes  []admin.ChangeRequest
	plan     admin.PlanView
	commits  []string // hashes
	cleared  bool
	repairs  []admin.RepairRequest
	limits   []admin.LimitsRequest
	aborts   []admin.AbortRequest
	preflist preflistArgs
	props    wire.BucketProps
	vnodes   admin.VnodesQuery
	tail     admin.LogTail
}

type preflistArgs struct {
	bucket, key string
	n           int
}

func (f *fakeNode) fail() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeNode) Ring(context.Context) (admin.RingView, error) {
	return admin.RingView{
		ClusterID: "5f6e", Epoch: 12, Partitions: 8, Replicas: 2,
		Owners: [][]string{{"n1", "n2"}, {"n2", "n1"}, {"n1", "n2"}, {"n2", "n1"}, {"n1", "n2"}, {"n2", "n1"}, {"n1", "n2"}, {"n2", "n1"}},
		Gens:   []uint64{1, 2, 1, 2, 1, 2, 1, 2},
	}, f.fail()
}

func (f *fakeNode) Members(context.Context) ([]admin.MemberView, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return []admin.MemberView{
		{
			Name: "n1", ID: "00000000000000a1", Status: "valid", Up: true, Addr: "127.0.0.1:7400", HTTP: "127.0.0.1:7402",
			RESP: "127.0.0.1:7403", Zone: "z", Weight: 1, Owned: 4, Slots: 8, PendingOwned: 4, PendingSlots: 8, Voter: true, Leader: true,
			Version: "0.1.0", Capabilities: []string{"metadata=1-2"},
		},
		{Name: "n2", ID: "00000000000000a2", Status: "leaving", Addr: "127.0.0.1:7410", HTTP: "127.0.0.1:7412", Weight: 1, Owned: 4, Slots: 8, Capabilities: []string{}},
	}, nil
}

func (f *fakeNode) Transfers(context.Context) (admin.TransfersView, error) {
	return admin.TransfersView{Waiting: 3, Active: []admin.TransferView{{
		Session: "18446744073709551615", Kind: "move", Service: "kv", Partition: 5, Slot: 1, From: "n1", To: "n2", Phase: "fold",
		Records: 1000, Bytes: 250_000, Percent: 12.5, BytesPerS: 50_000, ETAS: 35,
	}}, Ended: []admin.EndedView{{
		Session: "5ac3", Kind: "move", Partition: 4, Slot: 0, From: "n1", To: "n2", Outcome: "aborted", Reason: "a node that it needs is down",
		Started: time.Unix(1_700_000_000, 0).UTC(), Ended: time.Unix(1_700_000_012, 0).UTC(), Seconds: 12,
	}}, Limits: admin.LimitsView{
		Limits: admin.Limits{In: 16, Out: 16, Pair: 8, BytesIn: -1, BytesOut: -1}, Nodes: map[string]admin.Limits{"n2": {BytesOut: 1 << 20}},
	}}, f.fail()
}

func (f *fakeNode) Status(ctx context.Context) (admin.StatusView, error) {
	s := admin.StatusView{ClusterID: "5f6e", Epoch: 12, Partitions: 8, Replicas: 2, Live: admin.LiveView{Short: 8, Minority: []int{0, 1}}}
	s.Members, _ = f.Members(ctx)
	s.Transfers, _ = f.Transfers(ctx)
	s.Waiting = []admin.WaitView{{For: "n2", Partitions: 4}}
	s.Hints = []admin.HintsView{{For: "n2", Holders: []string{"n1"}, Slots: 3, Records: 17}}
	s.Slots = []admin.SlotsView{{Node: "n1", Service: "kv", State: "lost", Reason: "its file is gone", Partitions: []int{5}}}
	s.Checks = []admin.NodeCheck{{Node: "n1", Check: admin.Check{Name: "disk", Detail: "1 of 10 MiB free"}}}
	return s, f.fail()
}

func (f *fakeNode) Preflist(_ context.Context, bucket string, key []byte, n int) ([]admin.PreflistEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.preflist = preflistArgs{bucket, string(key), n}
	return []admin.PreflistEntry{
		{Partition: 3, Index: "548063113999088594326381812268606132370974703616", Slot: 0, Node: "n1", Role: admin.RolePrimary},
		{Partition: 3, Index: "548063113999088594326381812268606132370974703616", Slot: 1, Node: "n3", Role: admin.RoleFallback, For: "n2"},
	}, f.err
}

func (f *fakeNode) Repair(_ context.Context, req admin.RepairRequest) (admin.RepairStarted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repairs = append(f.repairs, req)
	return admin.RepairStarted{ID: "12ab", Partitions: 64, Nodes: []string{"n1", "n2"}}, f.err
}

func (f *fakeNode) Repairs(context.Context) (admin.RepairsView, error) {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := begun.Add(2 * time.Second)
	return admin.RepairsView{
		Repairs: []admin.RepairView{
			{ID: "34cd", Node: "n1", Partitions: 40, Done: 3, Started: ended},
			{
				ID: "12ab", Node: "n2", Partitions: 24, Done: 24, Failed: 1, Started: begun, Ended: &ended, Compared: 5000, Sent: 10, Received: 20,
				Unreached: []string{"n3"}, Errors: []string{"partition 12: it is moving"},
			},
		},
		Compared: []admin.ComparedView{{Partition: 0, Node: "n1", At: ended}, {Partition: 1, Node: "n2", At: ended, Floor: &begun}},
	}, f.fail()
}

func (f *fakeNode) Join(_ context.Context, req admin.JoinRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joins = append(f.joins, req)
	return f.err
}

func (f *fakeNode) Drain(_ context.Context, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.notReady = on
	}
	return f.err
}

func (f *fakeNode) Buckets(context.Context) ([]admin.BucketView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.props == (wire.BucketProps{}) {
		return nil, f.err
	}
	return []admin.BucketView{{Bucket: "b", BucketProps: f.props}}, f.err
}

func (f *fakeNode) Bucket(context.Context, string) (wire.BucketProps, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.props, f.err
}

func (f *fakeNode) SetBucket(_ context.Context, _ string, c wire.BucketChange) (wire.BucketProps, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.props = f.props.With(&c)
	return f.props, f.err
}

func (f *fakeNode) Name() string { return "n1" }

func (f *fakeNode) Ready() (bool, []admin.Check) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.notReady {
		return false, []admin.Check{{Name: "ring", Detail: "the join has not committed"}}
	}
	return true, []admin.Check{{Name: "ring", OK: true}}
}

func (f *fakeNode) Events(ctx context.Context) <-chan admin.Event { return f.Subscribe(ctx) }

func (f *fakeNode) Metrics() []admin.Metric {
	return []admin.Metric{
		{Name: "vnodes", Help: "Vnodes open.", Value: 64, Labels: map[string]string{"service": "kv"}},
		{Name: "commands_total", Help: "Commands run.", Counter: true, Value: 7},
	}
}

// kvStub says what reached it.
func kvStub(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Saw", r.Method+" "+r.URL.EscapedPath()+" "+string(body))
}

// serve starts a server of f's API and returns its base address.
func serve(t *testing.T, f *fakeNode, opts admin.Options) string {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(admin.Handler(f, http.HandlerFunc(kvStub), opts))
	t.Cleanup(srv.Close)
	return srv.URL
}

// answer is what a request brought.
type answer struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	// A transport of its own, so that no idle connection outlives the test.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}
