package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/vnodes/vnodetest"
)

// asNode in the environment makes the test binary the program itself.
const asNode = "LIKES_TEST_AS_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestLikesIsAVnode(t *testing.T) {
	apples, pears := ringcore.Call{Key: []byte("apples")}, ringcore.Call{Key: []byte("pears")}
	vnodetest.Run(t, service(), vnodetest.Inputs{
		Commands: []ringcore.Call{apples, pears, apples, apples, pears, apples},
		Queries:  []ringcore.Call{apples, pears, {Key: []byte("plums")}},
		Covers:   [][]byte{nil},
	})
}

// process is a node of its own.
type process struct {
	t          *testing.T
	name, dir  string
	addr, http string
	cmd        *exec.Cmd
	dead       chan struct{} // closed when it has ended
}

func start(t *testing.T, name, dir string, join ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, dir: dir, dead: make(chan struct{})}
	args := []string{"-data-dir", dir, "-name", name, "-addr", "127.0.0.1:0", "-listen", "127.0.0.1:0"}
	for _, addr := range join {
		args = append(args, "-join", addr)
	}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), asNode+"=1")
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		_ = log.Close()
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, b[max(0, len(b)-4000):])
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s has not become ready: %v", name, err)
	}
	if _, err := fmt.Sscanf(line, "ready addr=%s http=%s", &p.addr, &p.http); err != nil {
		t.Fatalf("%s says %q", name, line)
	}
	go func() {
		defer close(p.dead)
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
	}()
	return p
}

// kill is kill -9. It may be called twice.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.dead
}

// ask sends a request and returns the answer's body.
func ask(method, url string) (string, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	return string(body), err
}

// pages are more than there are partitions.
const pages = 100

// crowd gives likes at all nodes, without pause.
type crowd struct {
	acked, maybe [pages]atomic.Int64
	total        atomic.Int64 // of acked
	doors        sync.Map     // node's HTTP address, by its name
	stop         chan struct{}
	done         sync.WaitGroup

	mu     sync.Mutex
	errors map[string]int // by their first words
}

func gather(nodes ...*process) *crowd {
	c := &crowd{stop: make(chan struct{}), errors: make(map[string]int)}
	for _, p := range nodes {
		c.doors.Store(p.name, p.http)
		c.join(p.name)
	}
	return c
}

// join adds one who gives likes at the node of that name.
func (c *crowd) join(name string) {
	c.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i = (i + 1) % pages {
			door, _ := c.doors.Load(name)
			if door == "" { // the node is down
				select {
				case <-c.stop:
					return
				case <-tick.C:
				}
				continue
			}
			select {
			case <-c.stop:
				return
			default:
			}
			if _, err := ask("POST", fmt.Sprintf("http://%s/likes/page%d", door, i)); err != nil {
				c.maybe[i].Add(1)
				c.note(err)
				continue
			}
			c.acked[i].Add(1)
			c.total.Add(1)
		}
	})
}

func (c *crowd) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors[err.Error()[:min(len(err.Error()), 40)]]++
}

// goesOn waits until every page has been liked a few more times.
func (c *crowd) goesOn(t *testing.T) {
	t.Helper()
	goal := c.total.Load() + 3*pages
	await(t, "likes are given", func() bool { return c.total.Load() >= goal })
}

// await waits until ok, for a minute at most.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not after a minute", what)
		}
	}
}

// wipe removes the records of a node that is down: as a new disk would have none.
func wipe(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "clusters", "*", "vnodes", "likes", "*.bolt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files to remove: %v", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// While likes are given at every node, one is killed and comes back, another comes back
// without its records, a fourth one joins and takes partitions over. In the end each page
// has every like that was acknowledged, and none that was not given.
func TestNoLikeIsLost(t *testing.T) {
	a := start(t, "a", t.TempDir())
	b := start(t, "b", t.TempDir(), a.addr)
	c := start(t, "c", t.TempDir(), a.addr)
	likes := gather(a, b, c)
	likes.goesOn(t)

	likes.doors.Store("c", "")
	c.kill()
	likes.goesOn(t)
	c = start(t, "c", c.dir, a.addr)
	likes.doors.Store("c", c.http)
	likes.goesOn(t)

	likes.doors.Store("b", "")
	b.kill()
	wipe(t, b.dir)
	likes.goesOn(t)
	b = start(t, "b", b.dir, a.addr)
	likes.doors.Store("b", b.http)
	likes.goesOn(t)

	d := start(t, "d", t.TempDir(), a.addr)
	likes.doors.Store("d", d.http)
	likes.join("d")
	likes.goesOn(t)
	close(likes.stop)
	likes.done.Wait()

	maybe := int64(0)
	for i := range pages {
		least, most := likes.acked[i].Load(), likes.acked[i].Load()+likes.maybe[i].Load()
		maybe += most - least
		for _, p := range []*process{a, b, c, d} {
			var body string
			var err error
			await(t, p.name+" answers", func() bool {
				body, err = ask("GET", fmt.Sprintf("http://%s/likes/page%d", p.http, i))
				return err == nil
			})
			if got, err := strconv.ParseInt(strings.TrimSpace(body), 10, 64); err != nil || got < least || got > most {
				t.Errorf("page%d has %d likes at %s, want %d to %d: %v", i, got, p.name, least, most, err)
			}
		}
	}
	list, err := ask("GET", "http://"+a.http+"/likes")
	if lines := strings.Count(list, "\n"); err != nil || lines != pages || strings.Contains(list, "incomplete") {
		t.Errorf("the list has %d lines: %v", lines, err)
	}
	t.Logf("%d likes acknowledged, %d perhaps: %v", likes.total.Load(), maybe, likes.errors)
}
