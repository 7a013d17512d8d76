package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/backup"
)

// written is one write of a key: what it wrote, "" for a delete, and when.
type written struct {
	value        string
	begun, ended time.Time
	done         bool // acknowledged
}

// loadWriters write keys of their own, one after the other, and note what comes of it.
type loadWriters struct {
	t      *testing.T
	stop   context.CancelFunc
	ends   sync.WaitGroup
	mu     sync.Mutex // held to note a write
	writes map[string][]written
}

// startLoadWriters has n clients write keys keys each.
func startLoadWriters(t *testing.T, nodes []*process, n, keys int) *loadWriters {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &loadWriters{t: t, stop: stop, writes: make(map[string][]written)}
	t.Cleanup(stop)
	var addrs []string
	for _, p := range nodes {
		addrs = append(addrs, p.addr)
	}
	for i := range n {
		c, err := client.Open(t.Context(), client.Config{Addrs: addrs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		w.ends.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for seq := 0; ctx.Err() == nil; seq++ {
				key := fmt.Sprintf("w%d/%04d", i, random.IntN(keys))
				if seq < keys {
					key = fmt.Sprintf("w%d/%04d", i, seq)
				}
				value := fmt.Sprintf("%d.%d", i, seq)
				if random.IntN(5) == 0 {
					value = ""
				}
				w.write(ctx, c, key, value)
			}
		})
	}
	return w
}

func (w *loadWriters) write(ctx context.Context, c *client.Client, key, value string) {
	x := written{value: value, begun: time.Now()}
	var err error
	if value == "" {
		_, err = c.Delete(ctx, "load", []byte(key), client.WriteOptions{})
	} else {
		err = c.Put(ctx, "load", []byte(key), []byte(value), client.WriteOptions{})
	}
	x.ended, x.done = time.Now(), err == nil || errors.Is(err, client.ErrNotFound) && value == ""
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes[key] = append(w.writes[key], x)
}

// full waits until every key has been written.
func (w *loadWriters) full(keys int) {
	w.t.Helper()
	until(w.t, "all keys are written", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.writes) < keys {
			return fmt.Errorf("%d of %d", len(w.writes), keys)
		}
		return nil
	})
}

// end ends the load.
func (w *loadWriters) end() {
	w.stop()
	w.ends.Wait()
}

// check compares what was restored of each key with what may be there: what was
// acknowledged before from, or what was written after that and begun before to.
func (w *loadWriters) check(got map[string]string, from, to time.Time) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	exact, wrong := 0, 0
	for key, writes := range w.writes {
		may := map[string]bool{"": true}
		for _, x := range writes {
			if x.done && x.ended.Before(from) {
				clear(may)
			}
			if x.begun.Before(to) {
				may[x.value] = true
			}
		}
		if len(may) == 1 {
			exact++
		}
		if !may[got[key]] {
			if wrong++; wrong < 5 {
				w.t.Errorf("%s is %q, may be %v", key, got[key], slices.Sorted(maps.Keys(may)))
			}
		}
	}
	for key := range got {
		if w.writes[key] == nil {
			w.t.Errorf("%s was never written", key)
		}
	}
	if wrong > 0 || exact < len(w.writes)/10 {
		w.t.Errorf("%d of %d keys are wrong, %d could have one value only", wrong, len(w.writes), exact)
	}
}

// exported is what kv export says of a bucket, by key; several values have commas between.
func (p *process) exported(bucket string) map[string]string {
	p.t.Helper()
	got := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(p.ok("kv", "export", "--bucket", bucket)))
	for lines.Scan() {
		var line kvLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			p.t.Fatal(err)
		}
		var values []string
		for _, v := range line.values() {
			values = append(values, string(v.Value))
		}
		if _, twice := got[string(line.Key)]; twice || string(line.Bucket) != bucket {
			p.t.Errorf("%s comes twice, or is of another bucket", line.Key)
		}
		got[string(line.Key)] = strings.Join(values, ",")
	}
	return got
}

// Backups of three nodes under load, one of them dead in the second, are restored into two
// nodes with other partitions: record for record what was acknowledged before.
func TestBackupUnderLoad(t *testing.T) {
	long(t)
	const callers, keys = 8, 100
	n1 := startProcess(t, "n1", "--partitions", "16", "--replicas", "3", "--log-level", "warn")
	n2 := startProcess(t, "n2", "--join", n1.addr, "--log-level", "warn")
	n3 := startProcess(t, "n3", "--join", n1.addr, "--log-level", "warn")
	settle(t, n1, n2, n3)
	dir := t.TempDir()
	first, second, third, whole := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "3"), filepath.Join(dir, "whole")
	n1.ok("bucket", "set", "carts", "siblings=true")
	n1.ok("kv", "put", "-b", "carts", "anna", "milk")
	n1.ok("kv", "put", "-b", "carts", "anna", "eggs")
	n1.ok("kv", "put", "-b", "carts", "berta", "bread")
	var read struct{ Context string }
	if err := json.Unmarshal([]byte(n1.ok("kv", "get", "-b", "carts", "berta", "-o", "json")), &read); err != nil {
		t.Fatal(err)
	}
	w := startLoadWriters(t, []*process{n1, n2, n3}, callers, keys)
	w.full(callers * keys)
	n1.ok("backup", first)
	n3.kill()
	from := time.Now()
	n1.ok("backup", second, "--base", first)
	to := time.Now()
	w.end()
	n1.ok("backup", third, "--base", second)
	n2.ok("backup", whole)

	t.Run("restored elsewhere", func(t *testing.T) {
		m1 := startProcess(t, "m1", "--partitions", "64", "--replicas", "2", "--log-level", "warn")
		m2 := startProcess(t, "m2", "--join", m1.addr, "--log-level", "warn")
		settle(t, m1, m2)
		m2.ok("restore", second)
		w.check(m1.exported("load"), from, to)
		if got := m1.exported("carts"); got["anna"] != "eggs,milk" || got["berta"] != "bread" {
			t.Errorf("carts are %v", got)
		}
		m1.ok("kv", "put", "-b", "carts", "berta", "rolls", "--context", read.Context)
		if got := m2.ok("kv", "get", "-b", "carts", "berta"); got != "rolls" {
			t.Errorf("with the context of a read before the backup: %q", got)
		}
		if _, errOut, code := m1.ringcore("restore", second); code != exitRefused || !strings.Contains(errOut, "--merge") {
			t.Errorf("restore into data: exit %d, %s", code, errOut)
		}
		m1.ok("restore", third, "--merge")
		m2.kill() // with two replicas a majority is both: all is on this one too
		m1.ok("restore", third, "--verify")
	})
	t.Run("incremental is full", func(t *testing.T) {
		a, b := openRecords(t, third), openRecords(t, whole)
		if !maps.Equal(a, b) || len(a) == 0 {
			t.Errorf("%d records by three backups, %d by one", len(a), len(b))
		}
		w.check(inBucket(a, "load"), to, to)
	})
	t.Run("export and import", func(t *testing.T) { exportAndImport(t, n1, dir) })
}

// exportAndImport has n1's buckets written to a file, lost, and put back.
func exportAndImport(t *testing.T, n1 *process, dir string) {
	file := filepath.Join(dir, "all.jsonl")
	if _, errOut, code := n1.ringcoreIn("\x00\xfe", "kv", "put", "-b", "b/", "k\xff\n", "-"); code != 0 {
		t.Fatal(errOut)
	}
	n1.ok("kv", "put", "-b", "carts", "anna", "ham")
	before := n1.exported("load")
	n1.ok("kv", "export", "--all", file)
	for _, bucket := range []string{"b/", "load", "carts"} {
		n1.ok("kv", "clear", "-b", bucket, "--yes")
	}
	for range 2 { // again changes nothing
		n1.ok("kv", "import", file)
	}
	if got := n1.exported("load"); !maps.Equal(got, before) {
		t.Errorf("%d keys of %d", len(got), len(before))
	}
	if got := n1.exported("b/"); !maps.Equal(got, map[string]string{"k\xff\n": "\x00\xfe"}) {
		t.Errorf("got %q", got)
	}
	if got := n1.exported("carts")["anna"]; len(strings.Split(got, ",")) != 3 {
		t.Errorf("siblings: %q", got)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	lines := fmt.Sprintf(`{"bucket":"ttl","key":"later","value":"v","expires":%q}
{"bucket":"ttl","key":"past","value":"v","expires":"2020-01-01T00:00:00Z"}

{"bucket":"ttl","key":"two","siblings":[{"value":"new"},{"value":{"base64":"/w=="}}]}
`, expires.Format(time.RFC3339Nano))
	_, errOut, code := n1.ringcoreIn(lines, "kv", "import")
	if code != 0 || !strings.Contains(errOut, "1 keys had expired") || !strings.Contains(errOut, "1 keys had several values") {
		t.Errorf("import: exit %d, %s", code, errOut)
	}
	want := fmt.Sprintf(`{"bucket":"ttl","key":"later","value":"v","expires":%q}`, expires.Format(time.RFC3339Nano))
	if out := n1.ok("kv", "export", "-b", "ttl"); !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
		t.Errorf("got %s\nwant %s", out, want)
	}
	if _, errOut, code := n1.ringcoreIn("{\"bucket\":\"b\",\"key\":\"k\",\"value\":\"v\"}\n{\"key\":1}\n", "kv", "import"); code != exitUsage || !strings.Contains(errOut, "line 2") {
		t.Errorf("a bad line: exit %d, %s", code, errOut)
	}
}

// ringcoreIn is ringcore with something on its standard input.
func (p *process) ringcoreIn(in string, args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	var out, errOut bytes.Buffer
	code = run(p.t.Context(), append([]string{"--endpoint", "http://" + p.http}, args...), streams{strings.NewReader(in), &out, &errOut}, os.Getenv)
	return out.String(), errOut.String(), code
}

// openRecords are all records of the kv service in the backup in dir.
func openRecords(t *testing.T, dir string) map[string]string {
	t.Helper()
	chain, err := backup.OpenChain(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for p := range chain.Newest().Partitions {
		err := chain.Records("kv", p, func() error { return nil }, func(it *wire.Item) error {
			all[string(it.Key)] = fmt.Sprint(it.Stamp, string(it.Value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// inBucket are the values of a bucket among records as openRecords has them.
func inBucket(records map[string]string, bucket string) map[string]string {
	got := map[string]string{}
	for key, v := range records {
		if rest, ok := strings.CutPrefix(key, string(rune(len(bucket)))+bucket); ok {
			_, value, _ := strings.Cut(v, "\x00") // an envelope
			got[rest] = value
		}
	}
	return got
}

// Kill -9 in the middle of a backup leaves nothing that restore takes for one.
func TestKillDuringBackup(t *testing.T) {
	f := &fakeCluster{}
	api := newFakeAPI(f)
	defer api.Close()
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/backup/kv/40" {
			once.Do(func() { close(reached) })
			<-release
			return
		}
		api.Config.Handler.ServeHTTP(rw, r)
	}))
	defer front.Close()
	defer close(release)
	dir := filepath.Join(t.TempDir(), "b")
	cmd := exec.Command("ringcore", "backup", dir, "--endpoint", front.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	left, err := filepath.Glob(dir + "*")
	if err != nil || len(left) != 1 || left[0] == dir {
		t.Fatalf("left: %v, %v", left, err)
	}
	for _, name := range append(left, dir) {
		var errOut bytes.Buffer
		code := run(t.Context(), []string{"restore", name, "--endpoint", api.URL}, streams{nil, io.Discard, &errOut}, os.Getenv)
		if code != exitFailed || !strings.Contains(errOut.String(), "no whole backup") || !strings.Contains(errOut.String(), "hint:") {
			t.Errorf("restore %s: exit %d, %s", name, code, errOut.String())
		}
	}
}
