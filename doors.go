package ringcore

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// doors are the listeners for people and their programs, besides the node's own.
type doors struct {
	httpLn, respLn net.Listener
	http           *admin.Server
	respDone       chan struct{} // closed when the RESP server has stopped; nil if there is none
}

// listen opens the addresses that cfg asks for, and notes in cfg which they are.
func (d *doors) listen(ctx context.Context, cfg *Config) (err error) {
	if cfg.HTTPAddr != off {
		if d.httpLn, err = listen(ctx, cfg.HTTPAddr); err != nil {
			return err
		}
		cfg.HTTPAddr = d.httpLn.Addr().String()
	}
	if cfg.WithoutKV {
		cfg.RESPAddr = off
	}
	if cfg.RESPAddr != off {
		if d.respLn, err = listen(ctx, cfg.RESPAddr); err != nil {
			return err
		}
		cfg.RESPAddr = d.respLn.Addr().String()
	}
	cfg.GossipAddr, err = gossipAddr(ctx, cfg.GossipAddr)
	return err
}

// gossipAddr finds a free port if addr leaves it open, and checks that addr is free.
func gossipAddr(ctx context.Context, addr string) (string, error) {
	ln, err := listen(ctx, addr)
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// serve begins to answer.
func (d *doors) serve(n *Node) {
	store := n.KV()
	if d.httpLn != nil {
		var kvHandler http.Handler
		if store != nil {
			kvHandler = store.HTTPHandler()
		}
		h := admin.Handler(view{n}, kvHandler, admin.Options{Pprof: loopback(n.cfg.HTTPAddr), Loopback: loopback(n.cfg.HTTPAddr), Logger: n.log, Tracer: n.cfg.Tracer})
		d.http = admin.Serve(d.httpLn, h, n.log)
	}
	if d.respLn != nil {
		done := make(chan struct{})
		d.respDone = done
		cfg := kv.RESPConfig{Version: Version(), Info: n.respInfo, Logger: n.log}
		n.tasks.Go(func() {
			defer close(done)
			if err := kv.ServeRESP(n.ctx, d.respLn, store, cfg); err != nil {
				n.log.Error("resp server stopped", "err", err)
			}
		})
	}
}

// close ends what was opened and waits for it.
func (d *doors) close() error {
	var errs []error
	switch {
	case d.http != nil:
		errs = append(errs, d.http.Close())
	case d.httpLn != nil:
		errs = append(errs, d.httpLn.Close())
	}
	switch {
	case d.respDone != nil:
		<-d.respDone // the node's context has ended
	case d.respLn != nil:
		errs = append(errs, d.respLn.Close())
	}
	return errors.Join(errs...)
}

// respInfo is what INFO tells of the node.
func (n *Node) respInfo() []kv.InfoField {
	i := n.Info()
	fields := []kv.InfoField{{Name: "node_name", Value: i.Name}, {Name: "node_id", Value: string(i.ID)}}
	if c := n.core.Load(); c != nil {
		fields = append(fields, kv.InfoField{Name: "cluster_id", Value: c.clusterID})
	}
	return fields
}
