package dataplane

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// GossipFigures tell how gossip does on this node. They are counted here and not by go-metrics, to
// which memberlist reports: that has one place for the whole process, in which there may be several nodes.
type GossipFigures struct {
	Alive  int // nodes taken for alive, this one included
	Health int // 0: this node keeps up; the more, the later it is with what it should answer
	Queued int // news of the ring that are still to be spread

	Gone       uint64               // nodes that left or were taken for dead
	Failed     uint64               // probes that nobody has answered, by no way: the node is suspected
	TCPOnly    uint64               // probes that were answered by TCP, and not by UDP
	Suspected  uint64               // times that others suspected this node, or took it for dead
	Exchanges  uint64               // of all that is known, with another node
	Probes     [MeterBuckets]uint64 // probes answered at once, by time: see BucketLimit
	ProbesTook float64              // seconds, together

	PacketsIn, PacketsOut, BytesIn, BytesOut uint64 // of UDP
}

// gossipTally counts what makes GossipFigures.
type gossipTally struct {
	gone, failed, tcpOnly, suspected, exchanges atomic.Uint64
	probes                                      [MeterBuckets]atomic.Uint64
	probeNanos                                  atomic.Uint64
	packetsIn, packetsOut, bytesIn, bytesOut    atomic.Uint64
}

// Figures tell how gossip does on this node.
func (g *Gossip) Figures() GossipFigures {
	c := &g.delegate.tally
	x := GossipFigures{
		Alive: g.list.NumMembers(), Health: g.list.GetHealthScore(), Queued: g.delegate.broadcasts.NumQueued(),
		Gone: c.gone.Load(), Failed: c.failed.Load(), TCPOnly: c.tcpOnly.Load(), Suspected: c.suspected.Load(), Exchanges: c.exchanges.Load(),
		ProbesTook: time.Duration(c.probeNanos.Load()).Seconds(),
		PacketsIn:  c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
	for i := range x.Probes {
		x.Probes[i] = c.probes[i].Load()
	}
	return x
}

// told counts what memberlist only writes in its log. TestGossipOfThree would notice other words.
func (c *gossipTally) told(text string) {
	switch {
	case strings.HasSuffix(text, "has failed, no acks received"):
		c.failed.Add(1)
	case strings.Contains(text, "over TCP but UDP probes failed"):
		c.tcpOnly.Add(1)
	case strings.HasPrefix(text, "Refuting a suspect message"), strings.HasPrefix(text, "Refuting a dead message"):
		c.suspected.Add(1)
	}
}

// AckPayload implements memberlist.PingDelegate: a node answers a probe with nothing.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete implements memberlist.PingDelegate.
func (d *delegate) NotifyPingComplete(_ *memberlist.Node, took time.Duration, _ []byte) {
	d.tally.probes[bucketOf(took)].Add(1)
	d.tally.probeNanos.Add(uint64(max(0, took)))
}

// countedTransport is memberlist's transport, with its packets counted.
type countedTransport struct {
	*memberlist.NetTransport
	tally   *gossipTally
	packets chan *memberlist.Packet // those that have come, counted
	relay   sync.WaitGroup

	once, ended   sync.Once     // of the channels that follow
	closing, done chan struct{} // closed by Shutdown, before and after the listeners end
}

// listenGossip listens as c says. If it has no port, it gets the one that was taken.
func listenGossip(c *memberlist.Config, tally *gossipTally) (*countedTransport, error) {
	tries := 1
	if c.BindPort == 0 {
		tries = 10 // a port that is free for TCP may be taken for UDP
	}
	var inner *memberlist.NetTransport
	var err error
	for range tries {
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger})
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if c.BindPort == 0 {
		c.BindPort = inner.GetAutoBindPort()
		c.AdvertisePort = c.BindPort
	}
	t := &countedTransport{NetTransport: inner, tally: tally, packets: make(chan *memberlist.Packet), closing: make(chan struct{}), done: make(chan struct{})}
	t.relay.Go(t.count)
	return t, nil
}

// count passes packets on until the listeners have ended.
func (t *countedTransport) count() {
	for {
		select {
		case p := <-t.NetTransport.PacketCh():
			t.tally.packetsIn.Add(1)
			t.tally.bytesIn.Add(uint64(len(p.Buf)))
			select {
			case t.packets <- p:
			case <-t.closing:
			}
		case <-t.done:
			return
		}
	}
}

// PacketCh implements memberlist.Transport.
func (t *countedTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *countedTransport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	t.tally.packetsOut.Add(1)
	t.tally.bytesOut.Add(uint64(len(b)))
	return t.NetTransport.WriteToAddress(b, to)
}

// WriteTo implements memberlist.Transport.
func (t *countedTransport) WriteTo(b []byte, to string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: to})
}

// Shutdown implements memberlist.Transport. The listeners end only if their packets are taken; from
// now on by nobody else.
func (t *countedTransport) Shutdown() error {
	t.once.Do(func() { close(t.closing) })
	err := t.NetTransport.Shutdown()
	t.ended.Do(func() { close(t.done) })
	t.relay.Wait()
	return err
}
