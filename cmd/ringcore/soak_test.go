package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

const (
	soakKeys    = 480
	soakWriters = 24 // each has keys of its own
	soakBuckets = 3
)

// soakKey is one key, and what was done to it: version after version, some of them
// deletes. One writer at a time uses it.
type soakKey struct {
	bucket string
	key    []byte
	tried  int
	acked  int // tried or tried-1: a writer that fails does not go on
}

// deletes reports whether a version is one that deletes; version 0, before all, is.
func (k *soakKey) deletes(version int) bool { return version%3 == 0 }

// value is what a version puts: long enough, at times, that checkpoints have to run.
func (k *soakKey) value(version int) []byte {
	return append(fmt.Appendf(nil, "%d %s ", version, k.key), make([]byte, (version*7919+int(k.key[len(k.key)-1])*104729)%16000)...)
}

// write does the next version.
func (k *soakKey) write(ctx context.Context, c *client.Client) error {
	k.tried++
	var err error
	if k.deletes(k.tried) {
		if _, err = c.Delete(ctx, k.bucket, k.key, client.WriteOptions{}); errors.Is(err, client.ErrNotFound) {
			err = fmt.Errorf("delete of version %d found nothing", k.acked) // each follows a put
		}
	} else {
		err = c.Put(ctx, k.bucket, k.key, k.value(k.tried), client.WriteOptions{})
	}
	if err == nil {
		k.acked = k.tried
	}
	return err
}

// check reads the key: it must be as the last acknowledged version left it, or the
// one under way after that. From then on it counts as acknowledged.
func (k *soakKey) check(ctx context.Context, c *client.Client) (live bool, err error) {
	obj, err := c.Get(ctx, k.bucket, k.key, client.ReadOptions{})
	missing := errors.Is(err, client.ErrNotFound)
	if err != nil && !missing {
		return false, err
	}
	for v := k.acked; v <= k.tried; v++ {
		if k.deletes(v) == missing && (missing || bytes.Equal(obj.Value, k.value(v))) {
			k.acked, k.tried = v, v
			return !missing, nil
		}
	}
	return false, fmt.Errorf("%s: missing %v, %d bytes %.20q: version %d was acknowledged, %d tried", k.key, missing, len(obj.Value), obj.Value, k.acked, k.tried)
}

// nodeSoak is one node that dies again and again, and all its keys.
type nodeSoak struct {
	t    *testing.T
	node *process
	keys []*soakKey
	acks atomic.Int64
}

func (s *nodeSoak) client() *client.Client {
	s.t.Helper()
	c, err := client.Open(s.t.Context(), client.Config{Addrs: []string{s.node.addr}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// writeAndKill puts load on the node until it dies at a random moment.
func (s *nodeSoak) writeAndKill(atMost time.Duration) {
	c := s.client()
	ctx, cancel := context.WithCancel(s.t.Context())
	var killed atomic.Bool
	var running sync.WaitGroup
	for w := range soakWriters {
		running.Go(func() {
			for i := w; ctx.Err() == nil; i = (i + soakWriters) % soakKeys {
				if err := s.keys[i].write(ctx, c); err != nil {
					if !killed.Load() {
						s.t.Errorf("%s: %v", s.keys[i].key, err)
					}
					return
				}
				s.acks.Add(1)
			}
		})
	}
	<-time.After(rand.N(atMost)) // a random moment, not a wait for something
	killed.Store(true)
	s.node.kill()
	cancel()
	running.Wait()
	_ = c.Close()
}

// check reads every key, and compares the lists of the buckets with what was read.
func (s *nodeSoak) check() {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	live := map[string]bool{}
	for _, k := range s.keys {
		ok, err := k.check(s.t.Context(), c)
		if err != nil {
			s.t.Fatal(err)
		}
		if ok {
			live[k.bucket+" "+string(k.key)] = true
		}
	}
	listed := map[string]bool{}
	for b := range soakBuckets {
		bucket := fmt.Sprint("soak", b)
		cover, err := c.Keys(s.t.Context(), bucket, client.CoverOptions{}, func(it *client.Item) error {
			listed[bucket+" "+string(it.Key)] = true
			return nil
		})
		if err != nil || !cover.Complete {
			s.t.Fatalf("keys of %s: %+v %v", bucket, cover, err)
		}
	}
	if !maps.Equal(live, listed) {
		s.t.Fatalf("the list has %v, gets %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(live)))
	}
}

// A node is killed at random moments, while it serves and while it starts: nothing
// acknowledged is lost, and nothing deleted is back. RINGCORE_SOAK_ROUNDS is how often.
func TestSoakNode(t *testing.T) {
	rounds := 5
	if v := os.Getenv("RINGCORE_SOAK_ROUNDS"); v != "" {
		var err error
		if rounds, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	s := &nodeSoak{t: t, node: startProcess(t, "n1", "--replicas", "1", "--log-level", "warn")}
	for i := range soakKeys {
		s.keys = append(s.keys, &soakKey{bucket: fmt.Sprint("soak", i%soakBuckets), key: fmt.Append(nil, "key", i)})
	}
	early := 0
	for range rounds {
		s.writeAndKill(800 * time.Millisecond)
		for rand.IntN(3) == 0 { // again, while it starts
			early++
			s.node.start(s.node.places()...)
			<-time.After(rand.N(150 * time.Millisecond)) // a random moment, not a wait for something
			s.node.kill()
		}
		s.node.restart()
		s.check()
	}
	t.Logf("%d rounds, %d more kills while starting, %d writes acknowledged", rounds, early, s.acks.Load())
	if s.acks.Load() < int64(rounds) {
		t.Error("that is too little to prove anything")
	}
}
