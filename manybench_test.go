package ringcore

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

// BenchmarkManyKeys compares 100 keys as a batch with as many single requests: one after
// the other, and all at once. An op is a key; CPU and allocations are the client's and the
// three nodes' together.
//
//	go test -run xxx -bench ManyKeys -benchtime 100000x .
func BenchmarkManyKeys(b *testing.B) {
	const size = 100
	c := benchClient(b)
	value := make([]byte, 100)
	keys, writes := make([][]byte, size), make([]client.Write, size)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key %d", i)
		writes[i] = client.Write{Key: keys[i], Value: value}
	}
	put := func(i int) error { return c.Put(b.Context(), "b", keys[i], value, client.WriteOptions{}) }
	get := func(i int) error {
		_, err := c.Get(b.Context(), "b", keys[i], client.ReadOptions{R: client.One})
		return err
	}
	single := func(op func(i int) error, callers int) func() error {
		return func() error {
			var wg sync.WaitGroup
			errs := make([]error, callers)
			for k := range callers {
				wg.Go(func() {
					for i := k; i < size && errs[k] == nil; i += callers {
						errs[k] = op(i)
					}
				})
			}
			wg.Wait()
			return errs[0]
		}
	}
	for _, x := range []struct {
		name string
		run  func() error // for size keys
	}{
		{"put/single", single(put, 1)},
		{"put/callers", single(put, size)},
		{"put/batch", func() error { return c.PutMany(b.Context(), "b", writes, client.WriteOptions{}) }},
		{"get/single", single(get, 1)},
		{"get/callers", single(get, size)},
		{"get/batch", func() error {
			_, err := c.GetMany(b.Context(), "b", keys, client.ReadOptions{R: client.One})
			return err
		}},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for n := 0; n < b.N; n += size {
				if err := x.run(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchClient is a client of three nodes on disk.
func benchClient(b *testing.B) *client.Client {
	var nodes []*Node
	for i := range 3 {
		cfg := Config{
			Dir: b.TempDir(), Name: fmt.Sprint("n", i+1), Replicas: 3, Addr: "127.0.0.1:0", HTTPAddr: "off", RESPAddr: "off",
			OneMachine: true, Logger: testLogger(),
		}
		if i > 0 {
			cfg.Join = []string{nodes[0].Info().Addr}
		}
		n, err := Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
	}
	c, err := client.Open(b.Context(), client.Config{Addrs: []string{nodes[2].Info().Addr}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	for !nodes[2].core.Load().meta.State().Settled() || len(nodes[2].core.Load().meta.Ring().Assignments[0].Replicas) < 3 {
		if !pause(b.Context(), 5*time.Millisecond) {
			b.Fatal(b.Context().Err())
		}
	}
	return c
}
