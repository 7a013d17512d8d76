package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// fill carries out the adding of a slot on this node: it takes the records of
// every other replica, then proposes that the slot becomes readable.
func (m *Manager) fill(ctx context.Context, d *driver) error {
	s := d.session
	services := m.involved(&s, m.rings.Ring())
	d.enter("fill")
	if err := m.passed(wire.FillBegun); err != nil {
		return err
	}
	if err := errors.Join(m.pullAll(ctx, d, services), m.passed(wire.FillDone)); err != nil {
		return err
	}
	d.enter("commit")
	if err := m.transfers.Commit(ctx, s); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	m.install()
	return nil
}

// pullAll takes the records of s's partition from every other readable replica.
func (m *Manager) pullAll(ctx context.Context, d *driver, services []*service) error {
	if len(services) == 0 {
		return nil
	}
	p, r := d.session.Partition, m.rings.Ring()
	for _, svc := range services {
		if _, err := m.openSlot(svc, p, 0); err != nil {
			return err
		}
	}
	for _, x := range r.Assignments[p].Replicas {
		if x.Node == m.node || x.CatchingUp {
			continue
		}
		if _, err := m.pull(ctx, d, x.Node, services, false); err != nil {
			return fmt.Errorf("from %s: %w", x.Node, err)
		}
	}
	return nil
}

// pull takes the records of services from one replica and merges them. If partial
// is set, that may be one that is catching up itself: it gives what it has, and
// whole is false.
func (m *Manager) pull(ctx context.Context, d *driver, from ring.NodeID, services []*service, partial bool) (whole bool, err error) {
	p := d.session.Partition
	if err := m.takes("the slot was not filled", 0); err != nil {
		return false, err
	}
	st, err := m.cfg.Dialer.Dial(ctx, from)
	if err != nil {
		return false, err
	}
	defer st.Close() //nolint:errcheck // nothing was written that matters
	stop := context.AfterFunc(ctx, func() { _ = st.Close() })
	defer stop()
	byID := make(map[uint32]*service)
	open := pullOpen{Partial: partial}
	for _, svc := range services {
		byID[svc.id] = svc
		open.Services = append(open.Services, svc.Name)
	}
	body, err := json.Marshal(open)
	if err != nil {
		return false, err
	}
	h := wire.Header{
		Kind: wire.KindRequest, Op: wire.OpPull, ID: 1, Partition: uint16(p),
		Gen: uint64(m.rings.Ring().Gen(p)), Epoch: m.epoch(),
	}
	if err := st.WriteFrame(&h, body); err != nil {
		return false, err
	}
	if err := st.Flush(); err != nil {
		return false, err
	}
	got := make(map[string]int64)
	for {
		f, err := m.pullFrame(st)
		if err != nil {
			return false, err
		}
		if f.Flags&wire.FlagLast != 0 {
			return checkPulled(f.Body, got)
		}
		svc := byID[f.Service]
		if svc == nil {
			return false, wire.Errorf(wire.BadRequest, "records of service %d were not asked for", f.Service)
		}
		n, err := m.mergeChunk(svc, p, f.Body)
		if err != nil {
			return false, err
		}
		if !m.inRate.pass(ctx, len(f.Body)) {
			return false, ctx.Err()
		}
		got[svc.Name] += int64(n)
		d.records.Add(int64(n))
		d.bytes.Add(int64(len(f.Body)))
	}
}

func (m *Manager) pullFrame(st Stream) (wire.Frame, error) {
	if err := st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return wire.Frame{}, err
	}
	f, err := st.ReadFrame()
	if err == nil && f.Code != wire.OK {
		err = &wire.Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
	}
	return f, err
}

func (m *Manager) mergeChunk(svc *service, p ring.Partition, body []byte) (int, error) {
	writes, err := ParseWrites(body)
	if err != nil {
		return 0, err
	}
	for i := range writes {
		m.clock.ObserveTrusted(writes[i].Record.Stamp.Time)
	}
	v, werr := m.openSlot(svc, p, 0)
	if werr != nil {
		return 0, werr
	}
	if err := m.passed(wire.FillChunk); err != nil {
		return 0, err
	}
	return len(writes), errors.Join(v.mergeFrom(replica, writes), m.passed(wire.FillStored))
}

func checkPulled(body []byte, got map[string]int64) (whole bool, err error) {
	var end pullEnd
	if err := json.Unmarshal(body, &end); err != nil {
		return false, wire.Errorf(wire.BadRequest, "%v", err)
	}
	for name, n := range end.Records {
		if got[name] != n {
			return false, wire.Errorf(wire.Conflict, "service %s: %d records came, %d were sent", name, got[name], n)
		}
	}
	return !end.Partial, nil
}

// servePull sends this node's records of a partition. It first makes sure that
// its gates know the gen of the asker: what they admit afterwards was planned
// with the asker's slot, what they admitted before is in the records sent.
func (m *Manager) servePull(ctx context.Context, answer *answerer, f *wire.Frame) {
	err := m.sendRecords(ctx, answer.st, f)
	if err != nil {
		answer.fail(f, err)
	}
}

func (m *Manager) sendRecords(ctx context.Context, st Stream, f *wire.Frame) error {
	var open pullOpen
	if err := json.Unmarshal(f.Body, &open); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if err := m.passed(wire.PullAsked); err != nil {
		return err
	}
	fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.fetch(fctx, ring.Epoch(f.Epoch)); err != nil {
		return err
	}
	if err := m.hold(m.ring().Epoch); err != nil { // the asker relies on it, also after a restart
		return err
	}
	end := pullEnd{Records: make(map[string]int64)}
	h := wire.Header{Kind: wire.KindChunk, Op: wire.OpPull, ID: f.ID, Partition: f.Partition}
	for _, name := range open.Services {
		svc := m.services[wire.ServiceID(name)]
		if svc == nil {
			return wire.Errorf(wire.Refused, "service %s is not registered on this node", name)
		}
		v, whole, err := m.pullSource(svc, ring.Partition(f.Partition), f.Gen)
		if err != nil {
			return err
		}
		if !whole && !open.Partial {
			return wire.Errorf(wire.NotReadable, "this replica is catching up itself")
		}
		end.Partial = end.Partial || !whole
		h.Service = svc.id
		b := batch{limit: m.cfg.ChunkBytes, flush: func(writes []Write) error {
			if err := m.passed(wire.PullChunk); err != nil {
				return err
			}
			if !m.outRate.pass(ctx, bytesOf(writes)) {
				return ctx.Err()
			}
			end.Records[name] += int64(len(writes))
			if err := st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
				return err
			}
			if err := st.WriteFrame(&h, AppendWrites(nil, writes)); err != nil {
				return err
			}
			return st.Flush()
		}}
		if err := v.store.Ascend(nil, b.add); err != nil {
			return err
		}
		if err := b.end(); err != nil {
			return err
		}
	}
	body, err := json.Marshal(end)
	if err != nil {
		return err
	}
	h.Flags = wire.FlagLast
	if err := st.WriteFrame(&h, body); err != nil {
		return err
	}
	return st.Flush()
}

// pullSource is the slot's vnode at gen or later, with all that it has accepted
// before durable. whole is false if it is catching up itself.
func (m *Manager) pullSource(svc *service, p ring.Partition, gen uint64) (v *vnode, whole bool, err error) {
	v, werr := m.openSlot(svc, p, 0)
	if werr != nil {
		return nil, false, werr
	}
	v.do(func(*vnode) {}) // behind any new gate
	g := v.gate.Load()
	switch {
	case g.gen < gen:
		return nil, false, wire.Errorf(wire.Behind, "gen %d is not known here", gen)
	case g.phase == lost:
		return nil, false, wire.Errorf(wire.NotReadable, "this replica has lost its data: %s", g.reason)
	case g.phase == gone || g.phase == proposed:
		return nil, false, wire.Errorf(wire.Moved, "")
	case m.salvaging(v.id):
		return nil, false, wire.Errorf(wire.Unavailable, "this replica is damaged, and reads what is left")
	}
	if err := v.check(); err != nil {
		return nil, false, err
	}
	return v, g.phase != catching, v.store.Sync()
}
