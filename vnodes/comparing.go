package vnodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// comparing is the driver's side of one comparison.
type comparing struct {
	m      *Manager
	slot   *comparedSlot
	pipe   *pipe
	leaves leafSet
	young  uint64 // records stamped from here on may be on their way to the other side
	d      *driver
	tally  CompareTally
	want   [][]byte // keys of records to be fetched
	out    batch    // records to be sent
}

// CompareTally is what a comparison has found.
type CompareTally struct {
	Compared int64 `json:"compared"` // records listed and compared one by one; those in equal leaves are not
	Sent     int64 `json:"sent"`     // records that the other replica lacked or had older
	Received int64 `json:"received"` // records that this one did
	young    int64 // records that differ and are too young to tell
}

func (t *CompareTally) add(o CompareTally) {
	t.Compared += o.Compared
	t.Sent += o.Sent
	t.Received += o.Received
	t.young += o.young
}

// Moved counts the records that went either way.
func (t *CompareTally) Moved() int64 { return t.Sent + t.Received }

// compareWith compares the records of svc in p with those of node's replica, and
// merges what differs both ways. With full every record is read and compared,
// whatever the trees say.
func (m *Manager) compareWith(d *driver, svc *service, p ring.Partition, node ring.NodeID, full bool) (CompareTally, error) {
	gen := m.ring().Gen(p)
	if err := m.hold(m.ring().Epoch); err != nil { // both sides know its floors, for good
		return CompareTally{}, err
	}
	slot := &comparedSlot{m: m, svc: svc, p: p, gen: uint64(gen)}
	if err := slot.begin(); err != nil {
		return CompareTally{}, err
	}
	body, err := json.Marshal(compareOpen{Service: svc.Name, From: m.node})
	if err != nil {
		return CompareTally{}, err
	}
	pp, err := m.dialPipe(m.ctx, node, wire.OpCompare, p, gen)
	if err != nil {
		return CompareTally{}, fmt.Errorf("reach %s: %w", node, err)
	}
	defer pp.close()
	c := comparing{m: m, slot: slot, pipe: pp, d: d, leaves: allLeaves(), young: m.settledBefore()}
	c.out = batch{limit: m.cfg.ChunkBytes, flush: c.send}
	if _, err := pp.ask(0, body, pipeTimeout); err != nil {
		return c.tally, fmt.Errorf("%s: %w", node, err)
	}
	err = c.run(full)
	m.compares.counts.add(c.tally)
	if err != nil {
		return c.tally, fmt.Errorf("with %s: %w", node, err)
	}
	return c.tally, nil
}

// settledBefore is the time of the stamps below which no write is on its way any
// more that a replica has answered. A wall clock that is behind the others' counts
// for no more than what has come from them.
func (m *Manager) settledBefore() uint64 {
	now := max(clockTime(m.now()), m.clock.Latest())
	return now - min(now, clockSpan(m.cfg.SettleTime))
}

func (c *comparing) run(full bool) error {
	if !full {
		if err := c.compareTrees(); err != nil || c.leaves.empty() {
			return err
		}
	}
	if _, err := c.slot.open(); err != nil {
		return err
	}
	for from, more := []byte(nil), true; more; {
		b, err := c.ask(append(append([]byte{askHeads}, c.leaves[:]...), from...))
		if err != nil {
			return err
		}
		page, err := parseHeads(b)
		if err != nil {
			return wire.Errorf(wire.BadRequest, "heads: %v", err)
		}
		if err := c.comparePage(from, &page); err != nil {
			return err
		}
		from, more = page.next, len(page.next) > 0
	}
	if err := c.out.end(); err != nil {
		return err
	}
	if err := c.fetch(); err != nil {
		return err
	}
	return c.finish()
}

// ask asks one question, after a look at whether this side may still be compared.
func (c *comparing) ask(body []byte) ([]byte, error) {
	if err := c.slot.still(); err != nil {
		return nil, err
	}
	f, err := c.pipe.ask(0, body, pipeTimeout)
	c.m.compares.rate.pass(c.m.ctx, len(body)+len(f.Body))
	return f.Body, err
}

// finish waits until the other side has answered for all that was sent.
func (c *comparing) finish() error {
	if err := c.pipe.st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return err
	}
	for c.pipe.heard < c.pipe.sent {
		if _, err := c.pipe.hear(); err != nil {
			return err
		}
	}
	return nil
}

// compareTrees leaves in c.leaves what differs each time that it looks.
func (c *comparing) compareTrees() error {
	for round := range treeRounds {
		if round > 0 && !pause(c.m.ctx, min(treePause, c.m.cfg.SettleTime)) {
			return c.m.ctx.Err()
		}
		own, err := c.slot.tree()
		if err != nil {
			return err
		}
		b, err := c.ask(own.append([]byte{askTree}))
		if err != nil {
			return err
		}
		if len(b) != len(c.leaves) {
			return wire.Errorf(wire.BadRequest, "leaves: %v", wire.ErrBody)
		}
		c.leaves.keep((*leafSet)(b))
		if c.leaves.empty() {
			return nil
		}
	}
	return nil
}

// comparePage merges the other side's page of heads with this side's records in
// the same range of keys.
func (c *comparing) comparePage(from []byte, page *headPage) error {
	heads := page.heads
	var failed error
	err := c.slot.v.store.Ascend(keyAfter(from), func(key []byte, r Record) bool {
		if len(page.next) > 0 && bytes.Compare(key, page.next) > 0 {
			return false
		}
		if !c.leaves.has(leafOf(key)) {
			return true
		}
		for len(heads) > 0 && bytes.Compare(heads[0].key, key) < 0 && failed == nil {
			failed = c.theirs(&heads[0])
			heads = heads[1:]
		}
		switch {
		case failed != nil:
		case len(heads) > 0 && bytes.Equal(heads[0].key, key):
			failed = c.both(key, &r, &heads[0])
			heads = heads[1:]
		default:
			failed = c.ours(key, &r)
		}
		return failed == nil
	})
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	for i := range heads {
		if err := c.theirs(&heads[i]); err != nil {
			return err
		}
	}
	return nil
}

// theirs deals with a record that this side does not have. A tombstone stands
// against nothing then.
func (c *comparing) theirs(h *head) error {
	c.tally.Compared++
	if h.deleted() || c.tooYoung(h.stamp) {
		return nil
	}
	return c.wants(h.key)
}

// ours deals with a record that the other side does not have.
func (c *comparing) ours(key []byte, r *Record) error {
	c.tally.Compared++
	if r.Deleted() || c.tooYoung(r.Stamp) {
		return nil
	}
	return c.gives(key, r)
}

// tooYoung reports, and counts, a record that may be on its way to the other side. How
// old one is that is far ahead of the time its stamp does not say: it is brought at once.
func (c *comparing) tooYoung(stamps ...Stamp) bool {
	for _, s := range stamps {
		if s.Time >= c.young && s.Time-c.young < clockSpan(c.m.cfg.SettleTime+farAhead) {
			c.tally.young++
			return true
		}
	}
	return false
}

// both deals with a record that both sides have: with the newest-stamp rule one of
// them is to go, with the service's own both are merged on either side.
func (c *comparing) both(key []byte, r *Record, h *head) error {
	c.tally.Compared++
	own := headOf(key, r)
	if own.hash == h.hash || own.deleted() && h.deleted() || c.tooYoung(own.stamp, h.stamp) {
		return nil
	}
	order := own.stamp.Compare(h.stamp)
	merges := c.slot.svc.merger != nil || order == 0
	if merges || order > 0 {
		if err := c.gives(key, r); err != nil {
			return err
		}
	}
	if merges || order < 0 {
		return c.wants(h.key)
	}
	return nil
}

func (c *comparing) gives(key []byte, r *Record) error {
	c.out.add(key, *r)
	return c.out.err
}

// send sends a chunk of this side's records.
func (c *comparing) send(writes []Write) error {
	c.moves()
	if err := c.slot.still(); err != nil {
		return err
	}
	if err := c.pipe.chunk(c.slot.svc.id, AppendWrites(nil, writes)); err != nil {
		return err
	}
	c.tally.Sent += int64(len(writes))
	c.d.moved(writes)
	c.m.compares.rate.pass(c.m.ctx, bytesOf(writes))
	return nil
}

func (c *comparing) wants(key []byte) error {
	if c.want = append(c.want, bytes.Clone(key)); len(c.want) < fetchAtOnce {
		return nil
	}
	return c.fetch()
}

// fetch merges the records that are wanted here.
func (c *comparing) fetch() error {
	for len(c.want) > 0 {
		c.moves()
		b, err := c.ask(appendKeys([]byte{askRecords}, c.want))
		if err != nil {
			return err
		}
		done, writes, err := parseRecords(b)
		if err != nil || done < 1 || done > len(c.want) {
			return wire.Errorf(wire.BadRequest, "%d of %d records: %v", done, len(c.want), err)
		}
		if err := c.m.mergeCompared(c.slot.v, writes); err != nil {
			return err
		}
		c.tally.Received += int64(len(writes))
		c.d.moved(writes)
		c.want = c.want[done:]
	}
	c.want = nil
	return nil
}

// moves says, once, that there is something to see.
func (c *comparing) moves() {
	if c.tally.Moved() == 0 {
		c.m.show(c.d)
	}
}
