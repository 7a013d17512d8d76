package vnodetest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// checkReplicas lets two replicas see different commands, then each other's effects,
// and checks that
//
//   - both hold the same then, whatever came first;
//   - a coverage query that reads both before says what it says of the merged one;
//   - what their replies to a query resolve to is the merged one's reply.
func checkReplicas(s *suite) error {
	_, merges := s.service.New(0).(vnodes.Merger)
	_, blind := s.service.New(0).(vnodes.BlindCommander)
	if !merges && !blind {
		return nil // it can have one replica only
	}
	return s.withNode(1, nodeNumber(1).runs, func(a *node, ofA []outcome) error {
		return s.withNode(2, nodeNumber(2).runs, func(b *node, ofB []outcome) error {
			return s.compareReplicas(a, b, ofA, ofB)
		})
	})
}

// sight is all that can be seen of a replica.
type sight struct {
	covers  [][partitions][]vnodes.Item
	replies []outcome
}

func (s *suite) look(n *node) (sight, error) {
	var seen sight
	for i, body := range s.in.Covers {
		items, err := n.cover(i, body)
		if err != nil {
			return seen, err
		}
		seen.covers = append(seen.covers, items)
	}
	for i, q := range s.in.Queries {
		o, err := n.ask(i, q)
		if err != nil {
			return seen, err
		}
		seen.replies = append(seen.replies, o)
	}
	return seen, nil
}

func (s *suite) compareReplicas(a, b *node, ofA, ofB []outcome) error {
	before := make([]sight, 2)
	after := make([]sight, 2)
	var err error
	for i, n := range []*node{a, b} {
		if before[i], err = s.look(n); err != nil {
			return err
		}
	}
	if err := errors.Join(a.takeAll(s.in.Commands, ofB), b.takeAll(s.in.Commands, ofA)); err != nil {
		return err
	}
	for i, n := range []*node{a, b} {
		if after[i], err = s.look(n); err != nil {
			return err
		}
	}
	if err := s.checkCovers(a, before, after); err != nil {
		return err
	}
	return s.checkReplies(before, after)
}

// takeAll merges the effects of commands that another replica has run.
func (n *node) takeAll(commands []wire.Call, outcomes []outcome) error {
	for i := range outcomes {
		if len(outcomes[i].effect) == 0 {
			continue
		}
		o := n.take(&commands[i], outcomes[i].effect)
		if o.code != wire.OK {
			return fmt.Errorf("%s: a replica does not take its effect: %s", title("command", i, &commands[i]), &o)
		}
	}
	return nil
}

// take merges one effect.
func (n *node) take(c *wire.Call, effect []vnodes.Write) outcome {
	var o outcome
	done := make(chan struct{})
	n.m.Dispatch(&wire.Request{
		Op: wire.OpEffect, Service: wire.ServiceID(n.s.service.Name), Partition: uint16(partitionOf(c)), Gen: 1, Epoch: 1,
		Effect: vnodes.AppendWrites(nil, effect),
		Done: func(code wire.Code, _ uint64, body []byte) {
			o.code, o.body = code, bytes.Clone(body)
			close(done)
		},
	})
	<-done
	return o
}

func (s *suite) checkCovers(n *node, before, after []sight) error {
	for i, body := range s.in.Covers {
		for p := range partitions {
			want, again := delivered(after[0].covers[i][p]), delivered(after[1].covers[i][p])
			if why := differ(again, want); why != "" {
				return fmt.Errorf("coverage query %d (%q): two replicas that have taken the same effects in another order differ: %s", i, brief(body), why)
			}
			merged, err := n.mergeItems(body, before[0].covers[i][p], before[1].covers[i][p])
			if err != nil {
				return fmt.Errorf("coverage query %d (%q): merge items: %w", i, brief(body), err)
			}
			if why := differ(delivered(merged), want); why != "" {
				return fmt.Errorf("coverage query %d (%q): the items of two replicas do not make those of the merged one: %s; "+
					"a Merger whose items are not those of the newest record must be a CoverMerger", i, brief(body), why)
			}
		}
	}
	return nil
}

// mergeItems does what a coverage query does with the items of two replicas.
func (n *node) mergeItems(body []byte, a, b []vnodes.Item) ([]vnodes.Item, error) {
	var merged []vnodes.Item
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && bytes.Compare(a[0].Key, b[0].Key) < 0:
			merged, a = append(merged, a[0]), a[1:]
		case len(a) == 0 || bytes.Compare(a[0].Key, b[0].Key) > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			it, err := n.mergeItem(body, a[0], b[0])
			if err != nil {
				return nil, err
			}
			merged, a, b = append(merged, it), a[1:], b[1:]
		}
	}
	return merged, nil
}

// mergeItem merges two versions of an item, and tries the laws on them.
func (n *node) mergeItem(body []byte, a, b vnodes.Item) (vnodes.Item, error) {
	if n.info.MergeItems == nil {
		if a.Stamp.Compare(b.Stamp) > 0 {
			return a, nil
		}
		return b, nil
	}
	merge := func(a, b vnodes.Item) (vnodes.Item, error) {
		a, b = cloneItem(&a), cloneItem(&b)
		it, err := n.info.MergeItems(bytes.Clone(body), &a, &b)
		return cloneItem(&it), err
	}
	ab, err := merge(a, b)
	if err != nil {
		return ab, err
	}
	for _, x := range [][2]vnodes.Item{{b, a}, {ab, a}, {b, ab}, {ab, ab}} {
		again, err := merge(x[0], x[1])
		if err != nil {
			return ab, err
		}
		if again.Deleted != ab.Deleted || !bytes.Equal(again.Value, ab.Value) {
			return ab, fmt.Errorf("the item %q is %q, then %q: order and repetition must not count", a.Key, brief(ab.Value), brief(again.Value))
		}
	}
	return ab, nil
}

// delivered are the items that a coverage query's caller sees.
func delivered(items []vnodes.Item) []vnodes.Item {
	var live []vnodes.Item
	for _, it := range items {
		if !it.Deleted {
			live = append(live, it)
		}
	}
	return live
}

// differ says where got is not want; nothing if it is. Stamps do not count.
func differ(got, want []vnodes.Item) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got) || i < len(want) && bytes.Compare(want[i].Key, got[i].Key) < 0:
			return fmt.Sprintf("the item %q is missing", want[i].Key)
		case i >= len(want) || !bytes.Equal(want[i].Key, got[i].Key):
			return fmt.Sprintf("the item %q should not be there", got[i].Key)
		case !bytes.Equal(got[i].Value, want[i].Value):
			return fmt.Sprintf("the item %q is %q, not %q", got[i].Key, brief(got[i].Value), brief(want[i].Value))
		}
	}
	return ""
}

func (s *suite) checkReplies(before, after []sight) error {
	r, resolves := s.service.New(0).(vnodes.Resolver)
	for i, q := range s.in.Queries {
		a, b := &after[0].replies[i], &after[1].replies[i]
		if !a.equal(b) {
			return fmt.Errorf("%s: two replicas that have taken the same effects in another order answer %s and %s", title("query", i, &q), a, b)
		}
		x, y := &before[0].replies[i], &before[1].replies[i]
		if !resolves || x.code != wire.OK || y.code != wire.OK || a.code != wire.OK {
			continue
		}
		got, err := r.Resolve(bytes.Clone(q.Body), clones([][]byte{x.body, y.body}))
		if err != nil {
			return fmt.Errorf("%s: resolve: %w", title("query", i, &q), err)
		}
		if !bytes.Equal(got, a.body) {
			return fmt.Errorf("%s: the replies %q and %q of two replicas resolve to %q, but the merged replica answers %q",
				title("query", i, &q), brief(x.body), brief(y.body), brief(got), brief(a.body))
		}
	}
	return nil
}
