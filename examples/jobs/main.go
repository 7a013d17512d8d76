// Jobs is a queue whose jobs are spread over all nodes: workers find those that wait with a coverage query,
// and claim each where it lives, so that no two have the same one. A job whose worker has died is claimed again.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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

// round finds the jobs that wait and works on those that worker gets; it returns how many.
// A job is done at least once: again, if its worker took longer than the lease or died.
func round(ctx context.Context, on typed.Caller, worker string, lease time.Duration, work func(id string, j job) error) (n int, err error) {
	stop := errors.New("enough for a round")
	var found []string
	_, err = waiting.Do(ctx, on, struct{}{}, func(it typed.Item[job]) error {
		if found = append(found, it.Key); len(found) == 100 {
			return stop
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return 0, err
	}
	for _, id := range found {
		j, err := claimJob.Do(ctx, on, id, claim{Worker: worker, For: lease})
		switch e := (*ringcore.Error)(nil); {
		case errors.As(err, &e) && (e.Code == ringcore.CodeConflict || e.Code == ringcore.CodeNotFound):
			continue // another worker was faster
		case err != nil:
			return n, err // with ErrMaybe it may be ours: it is when the lease is over, at the latest
		}
		if err := work(id, j); err != nil {
			return n, fmt.Errorf("job %s: %w", id, err)
		}
		n++
		if _, err := doneJob.Do(ctx, on, id, done{Worker: worker}); err != nil {
			return n, err
		}
	}
	return n, nil
}

func handler(n *ringcore.Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /jobs", func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		id := rand.Text()
		if err == nil {
			_, err = addJob.Do(r.Context(), n, id, add{Payload: string(payload)})
		}
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		fmt.Fprintln(w, id)
	})
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, r *http.Request) {
		left, err := all.All(r.Context(), n, struct{}{})
		if err == nil {
			err = json.NewEncoder(w).Encode(left)
		}
		if err != nil {
			problem.Write(w, r, err)
		}
	})
	return mux
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service(time.Now)}, WithoutKV: true}
	cfg.Flags(flag.CommandLine)
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	must(n.Ready(ctx))
	var worker sync.WaitGroup
	worker.Go(func() {
		for tick := time.NewTicker(time.Second); ctx.Err() == nil; <-tick.C {
			_, err := round(ctx, n, n.Info().Name, time.Minute, func(id string, j job) error {
				log.Printf("job %s, try %d: %s", id, j.Tries, j.Payload)
				return nil
			})
			if err != nil && ctx.Err() == nil {
				log.Print(err)
			}
		}
	})
	srv := &http.Server{Addr: *listen, Handler: handler(n)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { <-n.Done(); stop() }() // it has left the cluster
	must(srv.ListenAndServe())
	worker.Wait()
	must(n.Close())
}

func must(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
