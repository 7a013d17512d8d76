// Cache is a cache in the memory of all nodes: values with a time to live, one copy of each. A node that goes
// takes its share along, which is a miss and no error.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/typed"
)

// entry is what is kept under a key.
type entry struct {
	Value   []byte
	Expires time.Time
}

type set struct {
	Value []byte
	TTL   time.Duration
}

// None of the commands reads what it replaces, so that another node can stand in for one
// that is down.
var (
	setKey  = typed.Command[set, struct{}]{Service: "cache", Name: "set", Blind: true}
	dropKey = typed.Command[struct{}, struct{}]{Service: "cache", Name: "drop", Blind: true}
	getKey  = typed.Query[struct{}, []byte]{Service: "cache", Name: "get"}
	expired = typed.Cover[struct{}, struct{}]{Service: "cache", Name: "expired"}

	entries typed.Records[entry]
)

// service is the cache with a clock: that of the node where a key lives counts.
func service(now func() time.Time) ringcore.Service {
	onSet := func(tx *ringcore.Tx, a set) (struct{}, error) {
		return struct{}{}, entries.Put(tx, tx.Key(), entry{a.Value, now().Add(a.TTL)})
	}
	onDrop := func(tx *ringcore.Tx, _ struct{}) (struct{}, error) {
		tx.Delete(tx.Key())
		return struct{}{}, nil
	}
	onGet := func(tx *ringcore.Tx, _ struct{}) ([]byte, error) {
		e, ok, err := entries.Get(tx, tx.Key())
		if err == nil && (!ok || now().After(e.Expires)) {
			err = ringcore.Errorf(ringcore.CodeNotFound, "not in the cache")
		}
		return e.Value, err
	}
	onExpired := func(_ struct{}, _ []byte, r ringcore.Record) (struct{}, bool, error) {
		e, err := entries.Parse(r.Value)
		return struct{}{}, now().After(e.Expires), err
	}
	return ringcore.Service{Name: "cache", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.BlindMethods{Methods: typed.Methods{setKey.By(onSet), dropKey.By(onDrop), getKey.By(onGet), expired.By(onExpired)}}
	}}
}

// patience is how long a get may take. The toolkit would try for longer; but what comes late is of no
// use to those who ask a cache.
const patience = 250 * time.Millisecond

// get is the value of key, nil for a miss: what is not there, and what cannot be reached now.
func get(ctx context.Context, on typed.Caller, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := getKey.Do(ctx, on, key, struct{}{})
	if errors.Is(err, ringcore.ErrNotFound) || errors.Is(err, ringcore.ErrUnavailable) || errors.Is(err, ringcore.ErrDeadline) {
		return nil, nil
	}
	return v, err
}

// sweep drops what has expired, and says how much that was. Who sets a key at the same
// moment may lose it, as of any cache.
func sweep(ctx context.Context, on typed.Caller) (int, error) {
	all, err := expired.All(ctx, on, struct{}{})
	if err != nil {
		return 0, err
	}
	for i, it := range all {
		if _, err := dropKey.Do(ctx, on, it.Key, struct{}{}); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

func handler(n *ringcore.Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{key}", func(w http.ResponseWriter, r *http.Request) {
		switch v, err := get(r.Context(), n, r.PathValue("key")); {
		case err != nil:
			problem.Write(w, r, err)
		case v == nil:
			http.NotFound(w, r)
		default:
			_, _ = w.Write(v)
		}
	})
	mux.HandleFunc("PUT /{key}", func(w http.ResponseWriter, r *http.Request) {
		ttl, err := time.ParseDuration(r.FormValue("ttl"))
		if err != nil {
			err = ringcore.Errorf(ringcore.CodeBadRequest, "ttl: %v", err)
		}
		v, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err = errors.Join(err, readErr); err == nil {
			_, err = setKey.Do(r.Context(), n, r.PathValue("key"), set{v, ttl})
		}
		if err != nil {
			problem.Write(w, r, err)
		}
	})
	return mux
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service(time.Now)}, WithoutKV: true, Storage: "memory"}
	cfg.Flags(flag.CommandLine)
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	must(n.Ready(ctx))
	var sweeper sync.WaitGroup
	sweeper.Go(func() { sweepEvery(ctx, n, time.Minute) })
	srv := &http.Server{Addr: *listen, Handler: handler(n)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { <-n.Done(); stop() }() // it has left the cluster
	must(srv.ListenAndServe())
	sweeper.Wait()
	must(n.Close())
}

func sweepEvery(ctx context.Context, n *ringcore.Node, period time.Duration) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := sweep(ctx, n); err != nil && ctx.Err() == nil {
			log.Print("sweep: ", err)
		}
	}
}

func must(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
