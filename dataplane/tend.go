package dataplane

import "time"

// tend looks after all peers until Close: deadlines, silence, and those that are
// not up. It is the one timer for all requests.
func (p *Peers) tend() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	nextProbe := p.now()
	for {
		changed := p.liveness.Changed()
		select {
		case <-p.ctx.Done():
			return
		case <-changed: // gossip may think a peer dead that answers us: ask it now
			nextProbe = p.now()
		case <-ticker.C:
			now := p.now()
			for _, x := range p.list() {
				x.tend(now)
			}
		}
		if now := p.now(); now >= nextProbe {
			nextProbe = now + redialWait
			p.probe()
		}
	}
}

// probe tries to hear from every member that is not up.
func (p *Peers) probe() {
	for _, node := range p.cfg.Members() {
		if p.liveness.Up(node) {
			continue
		}
		if _, known := p.cfg.Resolve(node); known {
			p.peer(node).probe()
		}
	}
}
