// Links is a link shortener on the key/value service that every node brings: no vnode of its own. Each
// link has three copies, and any node answers.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os/signal"
	"syscall"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/vnodes/kv"
)

const bucket = "links"

// links are the operations, at one node. The node's KV may be used from any goroutine.
type links struct{ kv *kv.KV }

// shorten keeps target under a code that is new, and returns it.
func (l links) shorten(ctx context.Context, target string) (string, error) {
	for {
		code := rand.Text()[:8]
		out, err := l.kv.PutIf(ctx, bucket, []byte(code), []byte(target), kv.IfAbsent, kv.Options{})
		if err != nil || out.Applied {
			return code, err
		}
	}
}

// target is where a code leads: kv.ErrNotFound if nowhere.
func (l links) target(ctx context.Context, code string) (string, error) {
	obj, err := l.kv.Get(ctx, bucket, []byte(code), kv.Options{})
	return string(obj.Value), err
}

// each hands every link to emit, and fails if some could not be seen.
func (l links) each(ctx context.Context, emit func(code, target string) error) error {
	seen, err := l.kv.Values(ctx, bucket, kv.Options{}, func(e *kv.Entry) error { return emit(string(e.Key), string(e.Value)) })
	if err == nil && !seen.Complete {
		err = ringcore.Errorf(ringcore.CodeUnavailable, "the links of partitions %v are missing", seen.Missing)
	}
	return err
}

// handler is the door. problem.Write answers an error with the status and the code that belong to it.
func handler(l links) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		target, err := url.ParseRequestURI(r.FormValue("url"))
		if err != nil {
			problem.Write(w, r, ringcore.Errorf(ringcore.CodeBadRequest, "url: %v", err))
			return
		}
		code, err := l.shorten(r.Context(), target.String())
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		fmt.Fprintf(w, "/%s\n", code)
	})
	mux.HandleFunc("GET /{code}", func(w http.ResponseWriter, r *http.Request) {
		target, err := l.target(r.Context(), r.PathValue("code"))
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		err := l.each(r.Context(), func(code, target string) error {
			_, err := fmt.Fprintf(w, "/%s %s\n", code, target)
			return err
		})
		if err != nil {
			fmt.Fprintln(w, "incomplete:", err)
		}
	})
	return mux
}

func main() {
	var cfg ringcore.Config
	cfg.Flags(flag.CommandLine)
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	srv := &http.Server{Addr: *listen, Handler: handler(links{n.KV()})}
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
