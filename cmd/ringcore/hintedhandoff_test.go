package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// handedKeys are written while a node is down. One in three of them was there
// before with another value, one in ten is deleted.
const handedKeys = 1000

func handedKey(i int) string { return fmt.Sprint("hh", i) }

// handed is what a key must read as after the writes: empty for not found.
func handed(i int) string {
	if i%10 == 1 {
		return ""
	}
	return fmt.Sprint("new", i)
}

// writeOld writes the values that are replaced or deleted while a node is down.
func writeOld(t *testing.T, nodes ...*process) {
	inParallel(t, nodes, func(p *process, i int) error {
		if i%3 != 0 && i%10 != 1 {
			return nil
		}
		return wants(p, http.MethodPut, handedKey(i), fmt.Sprint("old", i), http.StatusOK, http.StatusNoContent)
	})
}

// writeNew writes and deletes until all of it is acknowledged. A fallback deletes only
// what it knows, since a delete answers the old value.
func writeNew(t *testing.T, nodes ...*process) {
	inParallel(t, nodes, func(p *process, i int) error {
		err := wants(p, http.MethodPut, handedKey(i), fmt.Sprint("new", i), http.StatusOK, http.StatusNoContent)
		if err == nil && handed(i) == "" {
			err = wants(p, http.MethodDelete, handedKey(i), "", http.StatusOK, http.StatusNoContent)
		}
		return err
	})
}

// inParallel calls fn for every key, at the nodes in turn, again until it succeeds.
func inParallel(t *testing.T, nodes []*process, fn func(p *process, i int) error) {
	t.Helper()
	const writers = 16
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < handedKeys; i += writers {
				var err error
				for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
					if err = fn(nodes[i%len(nodes)], i); err == nil {
						break
					}
				}
				if err != nil {
					t.Errorf("%s: %v", handedKey(i), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func wants(p *process, method, key, value string, statuses ...int) error {
	status, body, err := kvRequest(p, method, key, value)
	if err != nil {
		return err
	}
	for _, ok := range statuses {
		if status == ok {
			return nil
		}
	}
	return fmt.Errorf("%s at %s: %d %s", method, p.name, status, body)
}

// readsRight checks one read of a key that all writes have been acknowledged of.
func readsRight(p *process, i int) error {
	status, body, err := kvRequest(p, http.MethodGet, handedKey(i), "")
	want := handed(i)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK && want != "" && body == want:
		return nil
	case status == http.StatusNotFound && want == "":
		return nil
	}
	return fmt.Errorf("%s at %s: %d %.80q, want %q", handedKey(i), p.name, status, body, want)
}

// readers read at a node without pause, and note what is wrong.
type readers struct {
	stop  context.CancelFunc
	wg    sync.WaitGroup
	reads atomic.Int64
	mu    sync.Mutex
	wrong []error
}

func startReaders(t *testing.T) (*readers, func(*process)) {
	ctx, cancel := context.WithCancel(t.Context())
	r := &readers{stop: cancel}
	return r, func(p *process) {
		for range 2 {
			r.wg.Go(func() {
				for i := 0; ctx.Err() == nil; i = (i + 7) % handedKeys {
					if err := readsRight(p, i); err != nil && ctx.Err() == nil {
						r.mu.Lock()
						r.wrong = append(r.wrong, err)
						r.mu.Unlock()
					}
					r.reads.Add(1)
				}
			})
		}
	}
}

func (r *readers) end(t *testing.T) {
	t.Helper()
	r.stop()
	r.wg.Wait()
	for i, err := range r.wrong {
		if i == 10 {
			t.Errorf("%d of %d reads were wrong", len(r.wrong), r.reads.Load())
			break
		}
		t.Error(err)
	}
	if r.reads.Load() < handedKeys/10 {
		t.Errorf("only %d reads", r.reads.Load())
	}
	t.Logf("%d reads, %d of them wrong", r.reads.Load(), len(r.wrong))
}

// hintStores is how many slots p keeps hints for.
func hintStores(t *testing.T, p *process) int {
	t.Helper()
	n, err := p.metric("hint_stores")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func delivered(t *testing.T, nodes ...*process) func() error {
	return func() error {
		for _, p := range nodes {
			if n := hintStores(t, p); n > 0 {
				return fmt.Errorf("%s holds hints for %d slots", p.name, n)
			}
		}
		return nil
	}
}

// The tutorial's hinted handoff: a node is killed, written for, and started again,
// while everything is read everywhere. Overwritten and deleted keys are among them.
func TestHintedHandoff(t *testing.T) {
	long(t)
	for _, replicas := range []string{"1", "3"} {
		t.Run("replicas"+replicas, func(t *testing.T) {
			nodes := tutorialCluster(t, replicas)
			stay, down := nodes[:2], nodes[2]
			writeOld(t, nodes...)
			down.kill()
			begun := time.Now()
			writeNew(t, stay...)
			t.Logf("%d writes took %v", handedKeys, time.Since(begun))
			if hintStores(t, stay[0])+hintStores(t, stay[1]) == 0 {
				t.Fatal("nobody holds hints")
			}
			r, read := startReaders(t)
			for _, p := range stay {
				read(p)
			}
			down.restart()
			ready := time.Now()
			read(down)
			until(t, "all hints are delivered", delivered(t, stay...))
			took := time.Since(ready)
			t.Logf("delivered %v after ready", took)
			if took > 5*time.Second {
				t.Errorf("the hints were delivered %v after the node was ready, want 5 s", took)
			}
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				for i := 0; i < handedKeys; i += 50 {
					if err := readsRight(down, i); err != nil {
						t.Error(err)
					}
				}
			}
			r.end(t)
		})
	}
}

// A node that is only stopped for a while has not been told that others stood in for
// it: with one replica it must not answer what it had.
func TestStoppedOwnerAnswersNothingOld(t *testing.T) {
	nodes := tutorialCluster(t, "1")
	stay, hung := nodes[:2], nodes[2]
	writeOld(t, nodes...)
	hung.signal(syscall.SIGSTOP)
	t.Cleanup(func() { _ = hung.cmd.Process.Signal(syscall.SIGCONT) })
	writeNew(t, stay...)
	// Requests wait at the hung node for the moment it goes on: they come first.
	var early sync.WaitGroup
	for w := range 32 {
		early.Go(func() {
			for i := w; i < handedKeys; i += 32 {
				if err := readsRight(hung, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	r, read := startReaders(t)
	for _, p := range stay {
		read(p)
	}
	until(t, "the others are read", func() error {
		if n := r.reads.Load(); n < handedKeys/5 {
			return fmt.Errorf("%d reads", n)
		}
		return nil
	})
	hung.signal(syscall.SIGCONT)
	early.Wait()
	until(t, "all hints are delivered", delivered(t, stay...))
	r.end(t)
}

// Two nodes: one is down and written for, the other is restarted, then the first
// one comes back: the hints still reach it. When the holder stays away, its
// owner says so, unless it is told to do without.
func TestHolderRestarts(t *testing.T) {
	n1 := startProcess(t, "n1", "--replicas", "1")
	n2 := startProcess(t, "n2", "--join", n1.addr)
	settle(t, n1, n2)
	writeOld(t, n1, n2)
	held := ""
	for i := 0; held == ""; i++ {
		if i%3 == 0 && handed(i) != "" && owner(t, n1, handedKey(i)) == "n2" {
			held = handedKey(i)
		}
	}
	n2.kill()
	writeNew(t, n1)
	n1.kill()

	n2.restart() // alone: it cannot know what n1 has
	out, errOut, code := n2.ringcore("--timeout", "3s", "kv", "get", held)
	if code == 0 || strings.Contains(errOut, "not found") || !strings.Contains(errOut, "--accept-loss") {
		t.Errorf("get of a key that an absent holder has: exit %d, %q, %q", code, out, errOut)
	}
	n2.kill()
	n2.start(append(n2.places(), "--accept-loss")...)
	n2.awaitReady()
	until(t, "the old value is read", func() error {
		if got, errOut, _ := n2.ringcore("kv", "get", held); !strings.HasPrefix(got, "old") {
			return fmt.Errorf("%q %s", got, errOut)
		}
		return nil
	})
	n2.kill()

	n1.restart()
	n2.restart()
	for i := range handedKeys {
		for _, p := range []*process{n1, n2} {
			if err := readsRight(p, i); err != nil {
				t.Error(err)
			}
		}
	}
	until(t, "all hints are delivered", delivered(t, n1))
}
