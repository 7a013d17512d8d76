package ringcore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// threeNodes is a cluster with three replicas of everything, with open doors.
func threeNodes(t *testing.T, cfg Config) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range 3 {
		c := cfg
		c.Name, c.Replicas = fmt.Sprint("n", i+1), 3
		c.HTTPAddr, c.RESPAddr = "127.0.0.1:0", "127.0.0.1:0"
		if i > 0 {
			c.Join = []string{nodes[0].Info().Addr}
		}
		nodes = append(nodes, testNode(t, c))
	}
	settled(t, nodes...)
	return nodes
}

// web asks a node by HTTP; header are pairs of names and values.
func web(t *testing.T, n *Node, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Info().HTTPAddr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// keepSiblings sets whether a bucket keeps siblings.
func keepSiblings(t *testing.T, n *Node, bucket string, keep bool) {
	t.Helper()
	if _, err := (view{n}).SetBucket(t.Context(), bucket, wire.BucketChange{Siblings: &keep}); err != nil {
		t.Fatal(err)
	}
}

// shown are the values that a node shows of a key, in order.
func shown(t *testing.T, n *Node, bucket, key string) []string {
	t.Helper()
	obj, err := n.KV().Get(t.Context(), bucket, []byte(key), kv.Options{Timeout: 30 * time.Second})
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatalf("get %s at %s: %v", key, n.cfg.Name, err)
	}
	return valuesOf(&obj)
}

func valuesOf(obj *kv.Object) []string {
	values := []string{string(obj.Value)}
	if len(obj.Siblings) > 0 {
		values = values[:0]
	}
	for _, s := range obj.Siblings {
		values = append(values, string(s.Value))
	}
	slices.Sort(values)
	return values
}

func wantShown(t *testing.T, n *Node, bucket, key string, want ...string) {
	t.Helper()
	if got := shown(t, n, bucket, key); !slices.Equal(got, want) {
		t.Fatalf("%s shows %q of %s, want %q", n.cfg.Name, got, key, want)
	}
}

func TestSiblingsAppearAndAreResolvedThroughEveryDoor(t *testing.T) {
	nodes := threeNodes(t, Config{})
	if resp, body := web(t, nodes[1], "PUT", "/v1/buckets/default", `{"siblings":true}`); resp.StatusCode != 200 {
		t.Fatalf("set the bucket: %d %s", resp.StatusCode, body)
	}
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{nodes[0].Info().Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := redis.NewClient(&redis.Options{Addr: nodes[2].Info().RESPAddr, MaxRetries: -1})
	defer r.Close()

	t.Run("client", func(t *testing.T) { siblingsByClient(t, nodes, c) })
	t.Run("http", func(t *testing.T) { siblingsByHTTP(t, nodes) })
	t.Run("resp", func(t *testing.T) { siblingsByRESP(t, nodes, r) })
	t.Run("lists", func(t *testing.T) { siblingsInLists(t, nodes, c) })
}

func siblingsByClient(t *testing.T, nodes []*Node, c *client.Client) {
	ctx, key := t.Context(), []byte("c")
	write := func(value string, o client.WriteOptions) {
		t.Helper()
		if err := c.Put(ctx, "default", key, []byte(value), o); err != nil {
			t.Fatal(err)
		}
	}
	read := func() client.Object {
		t.Helper()
		obj, err := c.Get(ctx, "default", key, client.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	write("a", client.WriteOptions{IfAbsent: true})
	one := read()
	if err := c.Put(ctx, "default", key, []byte("x"), client.WriteOptions{IfAbsent: true}); !errors.Is(err, client.ErrConflict) {
		t.Errorf("put if absent: %v", err)
	}
	write("b", client.WriteOptions{})
	two := read()
	if len(two.Siblings) != 2 || string(two.Value) != "b" {
		t.Fatalf("two writes: %+v", two)
	}
	if err := c.Put(ctx, "default", key, []byte("x"), client.WriteOptions{IfUnchanged: true, Context: one.Context}); !errors.Is(err, client.ErrConflict) {
		t.Errorf("put if unchanged: %v", err)
	}
	// Who has seen a only replaces a only.
	write("c", client.WriteOptions{Context: one.Context})
	wantShown(t, nodes[1], "default", "c", "b", "c")
	old, err := c.Delete(ctx, "default", key, client.WriteOptions{Context: two.Context})
	if err != nil || len(old.Siblings) != 2 {
		t.Fatalf("delete: %+v, %v", old, err)
	}
	wantShown(t, nodes[2], "default", "c", "c")
	write("d", client.WriteOptions{IfUnchanged: true, Context: read().Context, Expires: time.Now().Add(time.Hour)})
	if obj := read(); string(obj.Value) != "d" || obj.Siblings != nil || obj.Expires.IsZero() {
		t.Errorf("resolved: %+v", obj)
	}
	if _, err := c.Delete(ctx, "default", key, client.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantShown(t, nodes[0], "default", "c")
	if err := c.Put(ctx, "default", key, nil, client.WriteOptions{IfAbsent: true}); err != nil {
		t.Errorf("put if absent after the delete: %v", err)
	}
}

func siblingsByHTTP(t *testing.T, nodes []*Node) {
	want := func(what string, resp *http.Response, body string, status int) {
		t.Helper()
		if resp.StatusCode != status {
			t.Fatalf("%s: %d %s, want %d", what, resp.StatusCode, body, status)
		}
	}
	resp, body := web(t, nodes[0], "PUT", "/v1/kv/default/h", "a", "If-None-Match", "*")
	want("the first", resp, body, 204)
	resp, body = web(t, nodes[1], "PUT", "/v1/kv/default/h", "a", "If-None-Match", "*")
	want("again", resp, body, 412)
	resp, body = web(t, nodes[1], "PUT", "/v1/kv/default/h", "b")
	want("the second", resp, body, 204)
	resp, body = web(t, nodes[2], "GET", "/v1/kv/default/h", "")
	want("both", resp, body, 300)
	var values [][]byte
	if err := json.Unmarshal([]byte(body), &values); err != nil || len(values) != 2 || string(values[0]) != "b" || string(values[1]) != "a" {
		t.Fatalf("both: %s, %v", body, err)
	}
	seen, tag := resp.Header.Get("X-Ringcore-Context"), resp.Header.Get("ETag")
	resp, body = web(t, nodes[0], "PUT", "/v1/kv/default/h", "c", "X-Ringcore-Context", seen)
	want("one for both", resp, body, 204)
	resp, body = web(t, nodes[1], "GET", "/v1/kv/default/h", "")
	if want("one", resp, body, 200); body != "c" {
		t.Fatalf("one: %s", body)
	}
	resp, body = web(t, nodes[1], "PUT", "/v1/kv/default/h", "d", "If-Match", tag)
	want("by an old tag", resp, body, 412)
	resp, body = web(t, nodes[1], "PUT", "/v1/kv/default/h", "d", "If-Match", `"later"`)
	want("by no tag", resp, body, 400)
	resp, body = web(t, nodes[1], "DELETE", "/v1/kv/default/h", "", "X-Ringcore-Context", seen)
	want("delete what is gone", resp, body, 200)
	wantShown(t, nodes[0], "default", "h", "c")
}

func siblingsByRESP(t *testing.T, nodes []*Node, r *redis.Client) {
	ctx := t.Context()
	for i, n := range nodes {
		if err := n.KV().Put(ctx, "default", []byte("r"), fmt.Append(nil, i), kv.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	wantShown(t, nodes[0], "default", "r", "0", "1", "2")
	if got, err := r.Get(ctx, "r").Result(); err != nil || got != "2" {
		t.Errorf("the newest: %q, %v", got, err)
	}
	if err := r.Set(ctx, "r", "one", 0).Err(); err != nil {
		t.Fatal(err)
	}
	wantShown(t, nodes[1], "default", "r", "one")
	if ok, err := r.SetNX(ctx, "r", "two", 0).Result(); err != nil || ok {
		t.Errorf("set nx: %v, %v", ok, err)
	}
	if err := r.Del(ctx, "r").Err(); err != nil {
		t.Fatal(err)
	}
	wantShown(t, nodes[2], "default", "r")
}

func siblingsInLists(t *testing.T, nodes []*Node, c *client.Client) {
	keepSiblings(t, nodes[0], "listed", true)
	for i := range 20 {
		for _, n := range nodes[:1+i%3] {
			if err := n.KV().Put(t.Context(), "listed", fmt.Append(nil, i), fmt.Append(nil, i), kv.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(list func(context.Context, string, client.CoverOptions, func(*client.Item) error) (client.Coverage, error)) (n int) {
		t.Helper()
		cover, err := list(t.Context(), "listed", client.CoverOptions{}, func(it *client.Item) error {
			if n++; len(it.Value) > 0 && !bytes.Equal(it.Value, it.Key) {
				t.Errorf("%s has the value %q", it.Key, it.Value)
			}
			return nil
		})
		if err != nil || !cover.Complete {
			t.Fatalf("list: %+v, %v", cover, err)
		}
		return n
	}
	if n := count(c.Keys); n != 20 {
		t.Errorf("%d keys", n)
	}
	if n := count(c.Values); n != 7*1+7*2+6*3 {
		t.Errorf("%d values", n)
	}
	res, err := c.Clear(t.Context(), "listed", client.WriteOptions{})
	if err != nil || !res.Complete || res.Deleted != 20 {
		t.Fatalf("clear: %+v, %v", res, err)
	}
	if n := count(c.Keys); n != 0 {
		t.Errorf("%d keys after clear", n)
	}
}

// The bucket's quorums count where a request does not say, also for those that come
// straight from a client.
func TestBucketsHaveQuorums(t *testing.T) {
	n := testNode(t, Config{Name: "n1", Replicas: 3})
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{n.Info().Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := (view{n}).SetBucket(t.Context(), "b", wire.BucketChange{W: new(wire.Quorum(2)), R: new(wire.Quorum(3))}); err != nil {
		t.Fatal(err)
	}
	if list, err := (view{n}).Buckets(t.Context()); err != nil || len(list) != 1 || list[0].Bucket != "b" || list[0].R != 3 {
		t.Errorf("buckets: %+v, %v", list, err)
	}
	// There is one node, so one slot.
	putErr := c.Put(t.Context(), "b", []byte("k"), nil, client.WriteOptions{})
	_, getErr := n.KV().Get(t.Context(), "b", []byte("k"), kv.Options{})
	for what, err := range map[string]error{"put": putErr, "get": getErr} {
		if !errors.Is(err, client.ErrQuorum) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := c.Put(t.Context(), "b", []byte("k"), nil, client.WriteOptions{W: client.One}); err != nil {
		t.Errorf("put with a word of its own: %v", err)
	}
	if err := c.Put(t.Context(), "other", []byte("k"), nil, client.WriteOptions{}); err != nil {
		t.Errorf("put to another bucket: %v", err)
	}
}

// A replica that has lost its records, and coordinates a key again, is taken for
// another: what it writes is not swallowed as old (the original's kv679 family).
func TestAReplicaThatLostItsRecordsIsAnother(t *testing.T) {
	nodes := threeNodes(t, Config{Storage: "memory"})
	keepSiblings(t, nodes[0], "b", true)
	put := func(n *Node, value string, seen *kv.Object) {
		t.Helper()
		o := kv.Options{Timeout: 30 * time.Second}
		if seen != nil {
			o.Context = seen.Context
		}
		if err := n.KV().Put(t.Context(), "b", []byte("k"), []byte(value), o); err != nil {
			t.Fatal(err)
		}
	}
	get := func(n *Node) *kv.Object {
		t.Helper()
		obj, err := n.KV().Get(t.Context(), "b", []byte("k"), kv.Options{Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return &obj
	}
	put(nodes[2], "v0", nil)
	for i := range 5 {
		put(nodes[2], fmt.Sprint("v", i+1), get(nodes[0]))
	}
	before := get(nodes[0])
	lost := nodes[2].cfg
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	lost.Join = []string{nodes[0].Info().Addr}
	again := testNode(t, lost)
	eventually(t, "the returned node serves", func() error {
		obj, err := again.KV().Get(t.Context(), "b", []byte("k"), kv.Options{R: 1})
		if err == nil && string(obj.Value) != "v5" {
			err = fmt.Errorf("it shows %q", obj.Value)
		}
		return err
	})
	put(again, "new", nil)
	wantShown(t, nodes[0], "b", "k", "new", "v5")
	put(again, "mine", before) // who saw v5 only
	wantShown(t, nodes[1], "b", "k", "mine", "new")
	if _, err := again.KV().Delete(t.Context(), "b", []byte("k"), kv.Options{}); err != nil {
		t.Fatal(err)
	}
	wantShown(t, nodes[0], "b", "k")
	put(nodes[0], "after", nil)
	wantShown(t, again, "b", "k", "after")
}

// A node that was down while siblings were deleted, and while one was written that
// its own copy does not know, comes back to what the others have: nothing is
// resurrected and nothing is lost.
func TestADeleteOfSiblingsReachesWhoWasDown(t *testing.T) {
	nodes := threeNodes(t, Config{})
	keepSiblings(t, nodes[0], "b", true)
	for i, key := range []string{"gone", "kept"} {
		for j, n := range nodes {
			if err := n.KV().Put(t.Context(), "b", []byte(key), fmt.Append(nil, i, j), kv.Options{W: wire.QuorumAll}); err != nil {
				t.Fatal(err)
			}
		}
	}
	down := nodes[2].cfg
	seen, err := nodes[0].KV().Get(t.Context(), "b", []byte("kept"), kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	o := kv.Options{Timeout: 30 * time.Second}
	if err := nodes[1].KV().Put(t.Context(), "b", []byte("kept"), []byte("new"), o); err != nil {
		t.Fatal(err)
	}
	o.Context = seen.Context
	if _, err := nodes[0].KV().Delete(t.Context(), "b", []byte("kept"), o); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].KV().Delete(t.Context(), "b", []byte("gone"), kv.Options{Timeout: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	down.Join = []string{nodes[0].Info().Addr}
	again := testNode(t, down)
	for key, want := range map[string][]string{"gone": nil, "kept": {"new"}} {
		wantShown(t, again, "b", key, want...)
		eventually(t, "the returned node's own copy of "+key, func() error {
			obj, err := again.KV().Get(t.Context(), "b", []byte(key), kv.Options{R: 1})
			if found := !errors.Is(err, kv.ErrNotFound); found != (want != nil) || found && (err != nil || !slices.Equal(valuesOf(&obj), want)) {
				return fmt.Errorf("it shows %q, %v", valuesOf(&obj), err)
			}
			return nil
		})
	}
}

// While a bucket changes between its kinds under load, nothing acknowledged is lost:
// each writer has keys of its own, and finds its last value whenever it looks.
func TestChangesOfABucketsKindLoseNothing(t *testing.T) {
	nodes := threeNodes(t, Config{})
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%d-%d", w, i/40)
				if err := writeAndLook(t.Context(), nodes, key, i, w%2 == 0); err != nil {
					t.Errorf("writer %d, write %d: %v", w, i, err)
					return
				}
			}
		})
	}
	for round := range 8 {
		keepSiblings(t, nodes[round%3], "b", round%2 == 0)
	}
	close(stop)
	writers.Wait()
}

// writeAndLook writes value i of a key at one node, with the context of a read or
// without, and looks for it at another.
func writeAndLook(ctx context.Context, nodes []*Node, key string, i int, causal bool) error {
	o := kv.Options{Timeout: 30 * time.Second}
	write, look := nodes[i%3].KV(), nodes[(i/3)%3].KV()
	put := o
	if causal {
		obj, err := look.Get(ctx, "b", []byte(key), o)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		put.Context = obj.Context
	}
	value := fmt.Sprint("value ", i)
	if err := write.Put(ctx, "b", []byte(key), []byte(value), put); err != nil {
		return err
	}
	obj, err := look.Get(ctx, "b", []byte(key), o)
	if err != nil || !slices.Contains(valuesOf(&obj), value) {
		return fmt.Errorf("%q is acknowledged, %q is shown, %v", value, valuesOf(&obj), err)
	}
	if causal && len(obj.Siblings) > 1 {
		return fmt.Errorf("a single writer that passes contexts on has made %q", valuesOf(&obj))
	}
	return nil
}
