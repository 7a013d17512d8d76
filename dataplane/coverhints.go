package dataplane

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hintStores asks every node that is up which hints of a service it keeps. What a node
// that does not answer keeps cannot be read: with one replica it is its owner's part to
// refuse then; with several, only writes that fallbacks counted for may be missed.
func (r *Router) hintStores(ctx context.Context, service uint32) map[ring.Partition][]coverPart {
	until := time.Now().Add(hintsWait)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	type list struct {
		node ring.NodeID
		body []byte
	}
	nodes := r.members()
	lists := make(chan list, len(nodes))
	for _, node := range nodes {
		done := func(body []byte) { lists <- list{node, body} }
		switch {
		case node == r.self:
			r.local.Dispatch(&wire.Request{
				Op: wire.OpHintStores, Service: service, Done: func(_ wire.Code, _ uint64, body []byte) { done(body) },
			})
		case !r.up(node):
			done(nil)
		default:
			h := wire.Header{Op: wire.OpHintStores, Service: service}
			r.peers.Send(node, h, nil, until, func(f wire.Frame, err error) {
				if err != nil || f.Code != wire.OK {
					f.Body = nil
				}
				done(f.Body)
			})
		}
	}
	found := make(map[ring.Partition][]coverPart)
	for range nodes {
		l := <-lists // each comes by its deadline
		stores, err := wire.ParseHintStores(l.body)
		if err != nil {
			r.log.Warn("list of hints not understood", "peer", l.node, "err", err)
		}
		for _, s := range stores {
			p := ring.Partition(s.Partition)
			found[p] = append(found[p], coverPart{l.node, ring.NodeID(s.For)})
		}
	}
	return found
}
