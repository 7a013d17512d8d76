package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

const (
	learnPause     = 50 * time.Millisecond // between two attempts to learn; doubles when they fail
	learnPauseMost = time.Second
	learnTimeout   = 2 * time.Second // for one node's answer
)

var (
	errNothingNew = errors.New("the node knows nothing newer")
	errGone       = errors.New("the node is at this address no longer")
)

// learn is the learner's goroutine: whenever it is woken, it fetches the newest
// state that somebody has.
func (c *Client) learn() {
	d := learnPause
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		if err := c.learnOnce(); err != nil {
			c.log.Debug("ring not learned", "epoch", c.epoch.Load(), "err", err)
			d = min(2*d, learnPauseMost)
		} else {
			d = learnPause
		}
		if !pause(c.ctx, d) {
			return
		}
		if c.behind() {
			c.learnSoon()
		}
	}
}

// behind reports whether an answer has named a newer ring than the client knows.
func (c *Client) behind() bool { return c.epoch.Load() > uint64(c.view.Load().ring.Epoch) }

// learnOnce asks the nodes that are connected, then the others, then the addresses
// that the Client was opened with. It is content with one that knows nothing newer
// unless somebody has named a newer ring.
func (c *Client) learnOnce() error {
	v := c.view.Load()
	var errs []error
	answered := false
	for _, connected := range []bool{true, false} {
		for _, p := range v.order {
			if p.connected() != connected {
				continue
			}
			err := c.learnFrom(p)
			if err == nil || c.ctx.Err() != nil {
				return err
			}
			answered = answered || errors.Is(err, errNothingNew)
			errs = append(errs, err)
		}
		if answered && !c.behind() {
			return nil
		}
	}
	err := c.learnFromSeeds(c.ctx)
	if err == nil || errors.Is(err, errNothingNew) && !c.behind() {
		return nil
	}
	return errors.Join(append(errs, err)...)
}

// learnFrom asks one node over its shared connection.
func (c *Client) learnFrom(p *peer) error {
	v, limit := c.view.Load(), time.Now().Add(learnTimeout)
	l, err := p.connect(c.ctx, limit)
	if err != nil {
		return err
	}
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpRing, Cluster: v.check, Epoch: uint64(v.ring.Epoch)}
	h.SetTimeout(learnTimeout)
	a := l.roundTrip(c.ctx, &h, nil, limit, nil)
	if a.err != nil {
		return a.err
	}
	return c.adopt(a.frame)
}

// learnFromSeeds asks the addresses that the Client was opened with, each over a
// connection of its own, until one knows something new.
func (c *Client) learnFromSeeds(ctx context.Context) error {
	var errs []error
	for _, addr := range c.cfg.Addrs {
		err := c.learnAt(ctx, addr)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Client) learnAt(ctx context.Context, addr string) error {
	nc, hello, err := c.dial(ctx, addr, c.clusterID(), "")
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })()
	if err := nc.SetDeadline(time.Now().Add(learnTimeout)); err != nil {
		return err
	}
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpRing, ID: 1, Cluster: check(hello.ClusterID)}
	if v := c.view.Load(); v != nil {
		h.Epoch = uint64(v.ring.Epoch)
	}
	h.SetTimeout(learnTimeout)
	if _, err := nc.Write(wire.AppendFrame(nil, &h, nil)); err != nil {
		return fmt.Errorf("ask %s for the ring: %w", addr, err)
	}
	f, err := wire.ReadFrame(nc, wire.MaxBody)
	if err != nil {
		return fmt.Errorf("ask %s for the ring: %w", addr, err)
	}
	return c.adopt(f)
}

// adopt makes the state in an answer to OpRing the client's view, if it is newer.
func (c *Client) adopt(f wire.Frame) error {
	if f.Code != wire.OK {
		return &Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
	}
	s, err := parseState(f.Body)
	if err != nil {
		return err
	}
	old := c.view.Load()
	switch {
	case s == nil || old != nil && s.Epoch <= old.ring.Epoch:
		return errNothingNew
	case old != nil && s.ClusterID != old.clusterID:
		return wire.Errorf(wire.WrongCluster, "the node belongs to cluster %s, not %s", s.ClusterID, old.clusterID)
	}
	v := newView(c, s, old)
	c.view.Store(v)
	c.noteEpoch(uint64(s.Epoch))
	if old != nil {
		for id, p := range old.peers {
			if v.peers[id] != p {
				p.hangUp(errGone)
			}
		}
	}
	c.log.Debug("ring learned", "epoch", s.Epoch)
	return nil
}

// permanent reports an error that trying again will not cure.
func permanent(err error) bool {
	e, ok := asError(err)
	return ok && (e.Code == wire.WrongCluster || e.Code == wire.NotSupported)
}
