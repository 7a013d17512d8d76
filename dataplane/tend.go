package dataplane

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// tend looks after all peers until Close: deadlines, silence, and those that are
// not up. It is the one timer for all requests.
func (p *Peers) tend() {
	wrong := false // this node's wall clock
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	nextProbe, nextClock := p.now(), p.now()
	for {
		changed := p.liveness.Changed()
		select {
		case <-p.ctx.Done():
			return
		case <-changed: // gossip may think a peer dead that answers us: ask it now
			nextProbe = p.now()
		case <-ticker.C:
			now := p.now()
			idle := idlePings
			for _, x := range p.list() { // in another order each time
				if x.tend(now, idle > 0) {
					idle--
				}
			}
		}
		if now := p.now(); now >= nextProbe {
			nextProbe = now + redialWait
			p.probe()
		}
		if now := p.now(); p.cfg.Clocks != nil {
			if now >= nextClock {
				nextClock = now + clockEvery
				p.askTime()
			}
			wrong = p.tendClocks(wrong)
		}
	}
}

// AwaitTime returns when this node is sure what time it is, or when nobody is up who
// could tell, or nobody does for a second: then it goes on with what it knows.
func (p *Peers) AwaitTime(ctx context.Context) {
	p.probe()
	p.cfg.Clocks.await(ctx, func() bool { return slices.ContainsFunc(p.cfg.Members(), p.liveness.MaybeUp) })
}

// askTime asks members what time it is: all of them until this node is sure of it, then some.
func (p *Peers) askTime() {
	up := slices.DeleteFunc(slices.Clone(p.cfg.Members()), func(node ring.NodeID) bool { return !p.liveness.Up(node) }) // others are probed
	if p.cfg.Clocks.isSure() && len(up) > clocksAsked {
		rand.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
		up = up[:clocksAsked]
	}
	for _, node := range up {
		p.peer(node).askTime()
	}
}

// tendClocks adjusts the agreed time, and tells when this node's wall clock goes wrong.
func (p *Peers) tendClocks(wrong bool) bool {
	members := p.cfg.Members()
	if members == nil {
		return wrong
	}
	p.cfg.Clocks.adjust(members)
	off := p.cfg.Clocks.Offset()
	now := off.Abs() > clockSlack
	switch {
	case now && !wrong:
		p.log.Warn("wall clock differs from the members' median: set it", "elapsed", off)
	case wrong && !now:
		p.log.Info("wall clock is right again", "elapsed", off)
	}
	return now
}

// probe tries to hear from every member that is not up, and to reach those that have come up
// by themselves.
func (p *Peers) probe() {
	for _, node := range p.cfg.Members() {
		if p.liveness.Up(node) {
			p.peer(node).reach()
			continue
		}
		if _, known := p.cfg.Resolve(node); known {
			p.peer(node).probe()
		}
	}
}
