// Counter is a distributed service in one file: named counters, each kept by the
// node that owns its name, and counted from any node over HTTP.
//
//	counter --name a --data-dir a
//	counter --name b --data-dir b --addr 127.0.0.1:7410 --listen 127.0.0.1:8410 --join 127.0.0.1:7400
//	curl -X POST http://127.0.0.1:8410/incr/apples
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ringcore/ringcore"
)

// counter is the vnode. What it knows is in its records: the toolkit keeps them on
// disk, and moves them along when nodes come and go.
type counter struct{}

func count(tx *ringcore.Tx) uint64 {
	value, _ := tx.Get(tx.Key())
	n, _ := strconv.ParseUint(string(value), 10, 64) // 0 if there is none yet
	return n
}

// Command counts one up and answers the new count.
func (counter) Command(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	next := strconv.AppendUint(nil, count(tx)+1, 10)
	tx.Put(tx.Key(), next)
	return next, nil
}

// Query answers the count.
func (counter) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	return strconv.AppendUint(nil, count(tx), 10), nil
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
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Func("join", "address of a member of the cluster to join", func(addr string) error {
		cfg.Join = append(cfg.Join, addr)
		return nil
	})
	flag.Parse()
	if err := run(cfg, *listen); err != nil {
		log.Fatal(err)
	}
}

// run serves until the process is told to stop, or the node has left its cluster.
func run(cfg ringcore.Config, listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	n, err := ringcore.Open(ctx, cfg)
	if err != nil {
		return err
	}
	srv := &http.Server{Addr: listen, Handler: handler(n)}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	case <-n.Done():
	}
	return errors.Join(err, srv.Close(), n.Close())
}
