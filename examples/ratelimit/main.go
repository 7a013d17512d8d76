// Ratelimit is a rate limiter for a fleet: however many nodes ask, a key gets no more than its rate, because
// one vnode counts for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/typed"
)

// bucket is what is kept of a key: tokens that were left at a time.
type bucket struct {
	Tokens float64
	At     time.Time
}

type (
	take struct {
		N         float64
		Burst     float64 // tokens that a bucket holds
		PerSecond float64 // tokens that it gets
	}
	taken struct {
		OK      bool
		Left    float64
		RetryIn time.Duration // if not OK
	}
)

var (
	takeTokens = typed.Command[take, taken]{Service: "limits", Name: "take"}
	buckets    typed.Records[bucket]
)

// service is the limiter with a clock: that of the node where a key lives counts.
func service(now func() time.Time) ringcore.Service {
	onTake := func(tx *ringcore.Tx, a take) (taken, error) {
		b, known, err := buckets.Get(tx, tx.Key())
		t := now()
		switch {
		case err != nil:
			return taken{}, err
		case a.N > a.Burst || a.PerSecond <= 0:
			return taken{}, ringcore.Errorf(ringcore.CodeBadRequest, "%g of %g tokens, %g a second: never", a.N, a.Burst, a.PerSecond)
		case !known:
			b = bucket{Tokens: a.Burst, At: t}
		}
		if gone := t.Sub(b.At); gone > 0 { // another node's clock, before the key moved, may have been ahead
			b = bucket{Tokens: math.Min(a.Burst, b.Tokens+gone.Seconds()*a.PerSecond), At: t}
		}
		if b.Tokens < a.N {
			return taken{Left: b.Tokens, RetryIn: time.Duration((a.N - b.Tokens) / a.PerSecond * float64(time.Second))}, nil
		}
		b.Tokens -= a.N
		return taken{OK: true, Left: b.Tokens}, buckets.Put(tx, tx.Key(), b)
	}
	return ringcore.Service{Name: "limits", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.Methods{takeTokens.By(onTake)}
	}}
}

// handler answers 200 or 429. What is to happen when the limiter itself cannot say (503) its callers decide.
func handler(n *ringcore.Node, limit take) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /take/{key}", func(w http.ResponseWriter, r *http.Request) {
		t, err := takeTokens.Do(r.Context(), n, r.PathValue("key"), limit)
		switch {
		case err != nil:
			problem.Write(w, r, err)
		case !t.OK:
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(t.RetryIn.Seconds()))))
			http.Error(w, "too many", http.StatusTooManyRequests)
		default:
			fmt.Fprintf(w, "%.0f left\n", t.Left)
		}
	})
	return mux
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service(time.Now)}, WithoutKV: true, Storage: "memory"}
	cfg.Flags(flag.CommandLine)
	limit := take{N: 1}
	flag.Float64Var(&limit.Burst, "burst", 10, "requests at once")
	flag.Float64Var(&limit.PerSecond, "rate", 5, "requests a second")
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	srv := &http.Server{Addr: *listen, Handler: handler(n, limit)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { <-n.Done(); stop() }() // it has left the cluster
	must(srv.ListenAndServe())
	must(n.Close())
}

func must(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
