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
	lists := make(chan list, len(nodes)) // whoever answers late finds room
	asked := 0
	for _, node := range nodes {
		if node != r.self && !r.up(node) {
			continue
		}
		asked++
		h := wire.Header{Op: wire.OpHintStores, Service: service}
		r.ask(node, h, new(wire.Call), nil, until, func(code wire.Code, _ uint64, body []byte) {
			if code != wire.OK {
				body = nil
			}
			lists <- list{node, body}
		})
	}
	found := make(map[ring.Partition][]coverPart)
	for ; asked > 0; asked-- {
		var l list
		select {
		case l = <-lists: // each comes by its deadline
		case <-ctx.Done():
			return found
		}
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
