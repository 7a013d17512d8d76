// Likes is a replicated service in one file: likes of pages, given at any node over HTTP, three copies of
// each count, and none is lost when nodes die.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"syscall"

	"github.com/ringcore/ringcore"
)

// tally is a count that several copies count up at once: each has an entry of its own, by its actor, that
// nobody else touches. Of two versions of an entry the greater one is the newer; the count is the sum.
type tally map[uint64]uint64

func parse(b []byte) tally {
	t := make(tally)
	for ; len(b) >= 16; b = b[16:] {
		t[binary.BigEndian.Uint64(b)] = binary.BigEndian.Uint64(b[8:])
	}
	return t
}

// bytes is the same for equal tallies: replicas compare records by their bytes.
func (t tally) bytes() []byte {
	var b []byte
	for _, actor := range slices.Sorted(maps.Keys(t)) {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, actor), t[actor])
	}
	return b
}

func (t tally) sum() (n uint64) {
	for _, count := range t {
		n += count
	}
	return n
}

// merged is a tally with the greater one of each entry.
func merged(all ...[]byte) []byte {
	t := make(tally)
	for _, b := range all {
		for actor, count := range parse(b) {
			t[actor] = max(t[actor], count)
		}
	}
	return t.bytes()
}

// likes is the vnode. A page's record is its tally.
type likes struct{}

// Command counts one like, in the name of the copy that it runs on.
func (likes) Command(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	t := parse(old)
	t[tx.Actor()]++
	tx.Put(tx.Key(), t.bytes())
	return nil, nil
}

// Merge brings two copies together.
func (likes) Merge(_ []byte, have, incoming ringcore.Record) ringcore.Record {
	r := have.Newer(incoming)
	r.Value = merged(have.Value, incoming.Value)
	return r
}

// Query answers this copy's tally.
func (likes) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	t, _ := tx.Get(tx.Key())
	return t, nil
}

// Resolve makes one answer of those of several copies.
func (likes) Resolve(_ []byte, replies [][]byte) ([]byte, error) { return merged(replies...), nil }

// Cover emits all pages with their tallies.
func (likes) Cover(tx *ringcore.Tx, _ []byte, emit func(ringcore.Item) error) (err error) {
	tx.Ascend(nil, func(key []byte, r ringcore.Record) bool {
		err = emit(ringcore.Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value})
		return err == nil
	})
	return err
}

// MergeItems makes one item of those of two copies.
func (likes) MergeItems(_ []byte, a, b ringcore.Item) (ringcore.Item, error) {
	a.Value = merged(a.Value, b.Value)
	return a, nil
}

func service() ringcore.Service {
	return ringcore.Service{Name: "likes", N: 3, New: func(ringcore.Partition) ringcore.Vnode { return likes{} }}
}

// handler is the service's door. An error of a POST that begins with "maybe" means that the like may have been
// counted: whether to give it again is for those to decide who would rather have it twice than not at all.
func handler(n *ringcore.Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /likes/{page}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := n.Command(r.Context(), "likes", ringcore.Call{Key: []byte(r.PathValue("page"))}); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /likes/{page}", func(w http.ResponseWriter, r *http.Request) {
		t, err := n.Query(r.Context(), "likes", ringcore.Call{Key: []byte(r.PathValue("page"))})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, parse(t).sum())
	})
	mux.HandleFunc("GET /likes", func(w http.ResponseWriter, r *http.Request) {
		all, err := n.Cover(r.Context(), "likes", nil, ringcore.CoverOptions{}, func(it ringcore.CoverItem) error {
			_, err := fmt.Fprintf(w, "%q %d\n", it.Item.Key, parse(it.Item.Value).sum())
			return err
		})
		if err == nil && !all.Complete {
			err = fmt.Errorf("partitions %v are missing", all.Missing)
		}
		if err != nil {
			fmt.Fprintln(w, "incomplete:", err)
		}
	})
	return mux
}

func main() {
	cfg := ringcore.Config{Services: []ringcore.Service{service()}, WithoutKV: true, HTTPAddr: "off"}
	flag.StringVar(&cfg.Dir, "data-dir", "", "folder for what the node keeps (required)")
	flag.StringVar(&cfg.Name, "name", "", "name, unique in the cluster (host name)")
	flag.StringVar(&cfg.Addr, "addr", "127.0.0.1:7400", "address for nodes")
	flag.Func("join", "address of a member of the cluster to join", func(addr string) error { cfg.Join = append(cfg.Join, addr); return nil })
	listen := flag.String("listen", "127.0.0.1:8400", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	n, err := ringcore.Open(ctx, cfg)
	must(err)
	must(n.Ready(ctx))
	ln, err := net.Listen("tcp", *listen)
	must(err)
	fmt.Printf("ready addr=%s http=%s\n", n.Info().Addr, ln.Addr())
	srv := &http.Server{Handler: handler(n)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { <-n.Done(); stop() }() // it has left the cluster
	must(srv.Serve(ln))
	must(n.Close())
}

func must(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
