// Counter is a distributed service in one file: named counters, counted up at any node over HTTP.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ringcore/ringcore"
)

// counter is the vnode. All that it knows is in its records, which the toolkit keeps and moves.
type counter struct{}

// Command counts one up and answers the new count.
func (counter) Command(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	n, _ := strconv.ParseUint(string(old), 10, 64) // 0 if there is none yet
	next := strconv.AppendUint(nil, n+1, 10)
	tx.Put(tx.Key(), next)
	return next, nil
}

// Query answers the count; nothing if there is none yet.
func (counter) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	n, _ := tx.Get(tx.Key())
	return n, nil
}

func service() ringcore.Service {
	return ringcore.Service{Name: "counter", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return counter{} }}
}

func handler(n *ringcore.Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /incr/{name}", answer(n.Command))
	mux.HandleFunc("GET /count/{name}", answer(n.Query))
	return mux
}

func answer(ask func(context.Context, string, ringcore.Call) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply, err := ask(r.Context(), "counter", ringcore.Call{Key: []byte(r.PathValue("name"))})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "%s\n", reply)
	}
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service()}, WithoutKV: true}
	flag.StringVar(&cfg.Dir, "data-dir", "", "folder for what the node keeps (required)")
	flag.StringVar(&cfg.Name, "name", "", "name, unique in the cluster (host name)")
	flag.StringVar(&cfg.Addr, "addr", "127.0.0.1:7400", "address for nodes")
	flag.Func("join", "address of a member of the cluster to join", func(addr string) error { cfg.Join = append(cfg.Join, addr); return nil })
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	srv := &http.Server{Addr: *listen, Handler: handler(n)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { <-n.Done(); stop() }() // it has left the cluster
	must(srv.ListenAndServe())
	must(n.Close())
}

func must(err error) {
	if err != nil && err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
