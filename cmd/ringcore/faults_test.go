package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const faultKeys = 600

func faultValue(k int) string { return strings.Repeat(fmt.Sprintf("<value of %d>", k), 20) }

// deep reports whether tests are to take all the time that it takes to sample every
// page: RINGCORE_TEST_DEEP=1.
func deep() bool { return os.Getenv("RINGCORE_TEST_DEEP") != "" }

// putFaultKeys writes all keys through the node.
func putFaultKeys(t *testing.T, p *process) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := i; k < faultKeys; k += 8 {
				status, body, err := kvRequest(p, http.MethodPut, fmt.Sprint("key", k), faultValue(k))
				if err != nil || status/100 != 2 {
					t.Errorf("put %d: %d %s %v", k, status, body, err)
				}
			}
		})
	}
	wg.Wait()
}

// faultReaders read all keys at all nodes without pause.
type faultReaders struct {
	stop           atomic.Bool
	running        sync.WaitGroup
	right, refused atomic.Int64

	mu    sync.Mutex
	wrong []string
	last  string // of those refused by a node that is up
}

func startFaultReaders(nodes []*process) *faultReaders {
	r := &faultReaders{}
	for _, p := range nodes {
		addr := p.http
		for range 2 {
			r.running.Go(func() {
				for !r.stop.Load() {
					r.read(addr, rand.IntN(faultKeys))
				}
			})
		}
	}
	return r
}

func (r *faultReaders) read(addr string, k int) {
	resp, err := http.Get(fmt.Sprintf("http://%s/v1/kv/default/key%d", addr, k))
	if err != nil {
		<-time.After(10 * time.Millisecond) // the node is down
		return
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case resp.StatusCode == http.StatusOK && string(b) == faultValue(k):
		r.right.Add(1)
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNotFound:
		r.wrong = append(r.wrong, fmt.Sprintf("key %d at %s: %s %.80q", k, addr, resp.Status, b))
	default:
		r.refused.Add(1)
		r.last = fmt.Sprintf("key %d at %s: %s %s", k, addr, resp.Status, b)
	}
}

// end stops the readers and reports.
func (r *faultReaders) end(t *testing.T) {
	t.Helper()
	r.stop.Store(true)
	r.running.Wait()
	t.Logf("%d reads right, %d refused, the last of those: %s", r.right.Load(), r.refused.Load(), r.last)
	if len(r.wrong) > 0 {
		t.Errorf("%d wrong answers, the first: %s", len(r.wrong), r.wrong[0])
	}
	if r.right.Load() < faultKeys {
		t.Error("hardly anything was read")
	}
}

// metric is the value of one of p's metrics.
func (p *process) metric(name string) (float64, error) {
	resp, err := http.Get("http://" + p.http + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "ringcore_"+name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// storageCheck is what p's readiness says of its storage.
func (p *process) storageCheck() (ok bool, detail string, err error) {
	var ready struct {
		Checks []struct {
			Name   string
			OK     bool
			Detail string
		}
	}
	if err := p.get("/readyz", &ready); err != nil {
		return false, "", err
	}
	for _, c := range ready.Checks {
		if c.Name == "storage" {
			return c.OK, c.Detail, nil
		}
	}
	return false, "", fmt.Errorf("no check of the storage in %+v", ready)
}

// heals waits until the scrub has been everywhere once more and nothing is damaged
// any more; it returns how many slots were rebuilt since the start, and how long it took.
func (p *process) heals(t *testing.T, passes float64) (rebuilt float64) {
	t.Helper()
	began := time.Now()
	until(t, p.name+" is whole again", func() error {
		done, err := p.metric("scrub_passes_total")
		if err == nil && done < passes {
			err = fmt.Errorf("%v passes of the scrub", done)
		}
		if err != nil {
			return err
		}
		ok, detail, err := p.storageCheck()
		if err == nil && !ok {
			err = fmt.Errorf("storage: %s", detail)
		}
		return err
	})
	rebuilt, err := p.metric("storage_repairs_done_total")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v slots rebuilt within %v", p.name, rebuilt, time.Since(began).Round(time.Millisecond))
	return rebuilt
}

// vnodeFiles are p's files that match a pattern under its vnodes' folder.
func (p *process) vnodeFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir(), "clusters", "*", "vnodes", pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, files, err)
	}
	return files
}

// dir is p's data directory.
func (p *process) dir() string { return p.args[slices.Index(p.args, "--data-dir")+1] }

// flipBit inverts a random bit of a page of a file; false if it has no such page.
func flipBit(t *testing.T, path string, page int) bool {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := int64(page)*4096 + rand.Int64N(4096)
	b := make([]byte, 1)
	if at >= info.Size() {
		return false
	}
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 1 << rand.IntN(8)
		_, err = f.WriteAt(b, at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// pagesOf is the number of 4 KiB pages of the longest of files.
func pagesOf(t *testing.T, files []string) (pages int) {
	t.Helper()
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		pages = max(pages, int((info.Size()+4095)/4096))
	}
	return pages
}

// Bits are flipped in the files of one of three nodes, while it is down and while it
// is up: no reader at any node ever gets a wrong value or hears that a key is not
// there, and the node's own copy is whole again within a minute.
func TestFlippedBits(t *testing.T) {
	long(t)
	n1 := startProcess(t, "n1", "--replicas", "3", "--partitions", "16")
	nodes := []*process{n1, startProcess(t, "n2", "--join", n1.addr), startProcess(t, "n3", "--join", n1.addr)}
	settle(t, nodes...)
	putFaultKeys(t, n1)
	victim := nodes[1]
	t.Cleanup(func() {
		if victim.mu.Lock(); t.Failed() {
			text := victim.log.String()
			t.Logf("the end of the log of %s:\n%s", victim.name, text[max(0, len(text)-8000):])
		}
		victim.mu.Unlock()
	})
	readers := startFaultReaders(nodes)
	victim.stop() // everything is in the files
	files := victim.vnodeFiles(t, "kv/*.bolt")
	pages := pagesOf(t, files)
	rounds := []int{0, 2 + rand.IntN(2), pages / 2}
	if deep() {
		rounds = nil
		for page := range pages {
			rounds = append(rounds, page)
		}
	}
	total := float64(0)
	flips := 0
	for i, page := range rounds { // one bit in that page of every file
		if i > 0 {
			victim.stop()
		}
		for _, path := range victim.vnodeFiles(t, "kv/*.bolt") {
			if flipBit(t, path, page) {
				flips++
			}
		}
		victim.restart()
		total += victim.heals(t, 1)
	}
	victim.stop() // and one in every page of every file
	for _, path := range victim.vnodeFiles(t, "kv/*.bolt") {
		for page := 0; flipBit(t, path, page); page++ {
			flips++
		}
	}
	victim.restart()
	total += victim.heals(t, 1)
	total += flippedInLog(t, n1, victim)
	flips += flippedWhileUp(t, victim)
	readers.end(t)
	t.Logf("%d bits flipped, %v slots rebuilt", flips, total)
	if total < 16 {
		t.Errorf("only %v slots were rebuilt", total)
	}
	nodes[0].kill()
	nodes[2].kill()
	for k := range faultKeys { // its own copy, with nobody else to ask
		status, body, err := kvRequest(victim, http.MethodGet, fmt.Sprintf("key%d?r=1", k), "")
		if err != nil || status != http.StatusOK || body != faultValue(k) {
			t.Fatalf("key %d at %s alone: %d %.80q %v", k, victim.name, status, body, err)
		}
	}
}

// flippedInLog kills the node with everything in its log, where a bit is flipped in
// every page but those of the last writes.
func flippedInLog(t *testing.T, writer, victim *process) (rebuilt float64) {
	t.Helper()
	putFaultKeys(t, writer) // the newest versions are in the log
	putFaultKeys(t, writer) // and what is flipped is not of the last writes
	victim.kill()
	for _, path := range victim.vnodeFiles(t, "log/*.segment") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := len(bytes.TrimRight(content, "\x00"))
		for page := 0; page < used*3/4/4096; page++ {
			flipBit(t, path, page)
		}
	}
	victim.restart()
	return victim.heals(t, 1)
}

// flippedWhileUp flips a bit in a page of every file under the running node.
func flippedWhileUp(t *testing.T, victim *process) (flips int) {
	t.Helper()
	passes, err := victim.metric("scrub_passes_total")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range victim.vnodeFiles(t, "kv/*.bolt") {
		if flipBit(t, path, 2+rand.IntN(3)) {
			flips++
		}
	}
	victim.heals(t, passes+2) // the one under way may have been past them already
	return flips
}

// With one replica there is nobody to rebuild from: the node says what is corrupt and
// where, and the other partitions serve on.
func TestFlippedBitsWithoutReplica(t *testing.T) {
	n1 := startProcess(t, "n1", "--replicas", "1", "--partitions", "16")
	putFaultKeys(t, n1)
	n1.stop()
	files := n1.vnodeFiles(t, "kv/*.bolt")
	hurt := files[rand.IntN(len(files))]
	for page := 0; flipBit(t, hurt, page); page++ { // everywhere in that file
	}
	n1.restart()
	until(t, "the node knows", func() error {
		ok, detail, err := n1.storageCheck()
		if err == nil && (ok || !strings.Contains(detail, "kv/"+filepath.Base(hurt)) || !strings.Contains(detail, "corrupt")) {
			err = fmt.Errorf("storage: %v %s", ok, detail)
		}
		return err
	})
	answers := make(map[string]int)
	for k := range faultKeys {
		status, body, err := kvRequest(n1, http.MethodGet, fmt.Sprint("key", k), "")
		switch {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusOK && body == faultValue(k):
			answers["right"]++
		case status == http.StatusInternalServerError && strings.Contains(body, "corrupt") && strings.Contains(body, filepath.Base(hurt)):
			answers["corrupt"]++
		default:
			t.Errorf("key %d: %d %.200q", k, status, body)
		}
	}
	t.Log(slices.Sorted(maps.Keys(answers)), answers)
	if answers["right"] < faultKeys/2 || answers["corrupt"] == 0 {
		t.Errorf("answers: %v", answers)
	}
}
