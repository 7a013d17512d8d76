package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/typed"
)

// handler is the door of a node, or of whoever else can call the service.
func handler(on typed.Caller) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /rooms/{room}/{name}", func(w http.ResponseWriter, r *http.Request) {
		got, err := enterRoom.Do(r.Context(), on, r.PathValue("room"), enter{Name: r.PathValue("name")})
		answer(w, r, got, err)
	})
	mux.HandleFunc("DELETE /rooms/{room}/{name}", func(w http.ResponseWriter, r *http.Request) {
		got, err := leaveRoom.Do(r.Context(), on, r.PathValue("room"), leave{Name: r.PathValue("name")})
		answer(w, r, got, err)
	})
	mux.HandleFunc("POST /rooms/{room}/{name}", func(w http.ResponseWriter, r *http.Request) {
		got, err := sayInRoom.Do(r.Context(), on, r.PathValue("room"), say{From: r.PathValue("name"), Text: r.FormValue("text")})
		answer(w, r, got, err)
	})
	mux.HandleFunc("GET /rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("since"))
		got, err := history.Do(r.Context(), on, r.PathValue("room"), since{N: n})
		answer(w, r, got, err)
	})
	mux.HandleFunc("GET /rooms", func(w http.ResponseWriter, r *http.Request) {
		got, err := openRooms.All(r.Context(), on, struct{}{})
		answer(w, r, got, err)
	})
	return mux
}

func answer(w http.ResponseWriter, r *http.Request, got any, err error) {
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(got); err != nil {
		log.Print(err)
	}
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service()}, WithoutKV: true}
	cfg.Flags(flag.CommandLine)
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
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
