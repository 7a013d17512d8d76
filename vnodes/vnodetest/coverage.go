package vnodetest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// checkCover asks every coverage query after every command.
func checkCover(s *suite) error {
	if _, ok := s.service.New(0).(vnodes.Coverer); !ok && len(s.in.Covers) > 0 {
		return errors.New("Inputs.Covers is set, but the vnode is no vnodes.Coverer")
	}
	n, err := s.open(0, "")
	if err != nil {
		return err
	}
	return errors.Join(s.coverGrowing(n), n.close())
}

func (s *suite) coverGrowing(n *node) error {
	last := make([][partitions][]vnodes.Item, len(s.in.Covers))
	var stamps stampSet
	for i, c := range s.in.Commands {
		n.tick()
		o, err := n.run(i, c)
		if err != nil {
			return err
		}
		stamps.add(partitionOf(&c), o.effect)
		for j, body := range s.in.Covers {
			items, err := n.cover(j, body)
			if err != nil {
				return err
			}
			for p := range items {
				err := checkOrder(items[p])
				if err == nil && n.info.N > 1 {
					err = errors.Join(stamps.check(ring.Partition(p), items[p]), checkStays(last[j][p], items[p]))
				}
				if err != nil {
					return fmt.Errorf("coverage query %d (%q) after %s: %w", j, brief(body), title("command", i, &c), err)
				}
			}
			last[j] = items
		}
	}
	return nil
}

// checkOrder checks that items are in key order, each key once.
func checkOrder(items []vnodes.Item) error {
	for i := 1; i < len(items); i++ {
		switch a, b := items[i-1].Key, items[i].Key; bytes.Compare(a, b) {
		case 0:
			return fmt.Errorf("the item %q comes twice", b)
		case 1:
			return fmt.Errorf("the item %q comes after %q: they must come in key order", b, a)
		}
	}
	return nil
}

// stampSet knows the stamps that records of each partition have had, and which of
// them are tombstones'.
type stampSet [partitions]map[vnodes.Stamp]bool

func (s *stampSet) add(p ring.Partition, writes []vnodes.Write) {
	if s[p] == nil {
		s[p] = make(map[vnodes.Stamp]bool)
	}
	for i := range writes {
		s[p][writes[i].Record.Stamp] = writes[i].Record.Deleted()
	}
}

// check checks that each item has a record's stamp, and that one made from a tombstone says so.
func (s *stampSet) check(p ring.Partition, items []vnodes.Item) error {
	for i := range items {
		it := &items[i]
		deleted, known := s[p][it.Stamp]
		switch {
		case !known:
			return fmt.Errorf("the item %q does not have the stamp of a record: with several replicas that decides which one is newest", it.Key)
		case deleted && !it.Deleted:
			return fmt.Errorf("the item %q comes from a deleted record, and does not say so", it.Key)
		}
	}
	return nil
}

// checkStays checks that what was there before is still there, if only as deleted, and
// is not older: an older replica must not bring it back.
func checkStays(before, now []vnodes.Item) error {
	at := make(map[string]*vnodes.Item, len(now))
	for i := range now {
		at[string(now[i].Key)] = &now[i]
	}
	for i := range before {
		was := &before[i]
		is := at[string(was.Key)]
		switch {
		case is == nil:
			return fmt.Errorf("the item %q is gone: with several replicas it must be emitted as deleted, or an old replica brings it back", was.Key)
		case is.Stamp.Compare(was.Stamp) < 0:
			return fmt.Errorf("the item %q has an older stamp than before", was.Key)
		}
	}
	return nil
}

// checkCoverStops refuses one item after the other.
func checkCoverStops(s *suite) error {
	return s.withNode(0, all, func(n *node, _ []outcome) error {
		for i, body := range s.in.Covers {
			items, err := n.cover(i, body)
			if err != nil {
				return err
			}
			for p := range items {
				for at := range min(len(items[p]), 3) {
					if err := n.stopAt(p, body, at); err != nil {
						return fmt.Errorf("coverage query %d (%q) in partition %d: %w", i, brief(body), p, err)
					}
				}
			}
		}
		return nil
	})
}

// stopAt runs a coverage query whose emit fails at the item with the number at.
func (n *node) stopAt(p int, body []byte, at int) error {
	stop := wire.Errorf(wire.Refused, "vnodetest: no more")
	emitted := 0
	err := n.coverPartition(p, body, func(*vnodes.Item) error {
		emitted++
		if emitted > at {
			return stop
		}
		return nil
	})
	switch {
	case emitted > at+1:
		return fmt.Errorf("emit has failed, and is called again")
	case !errors.Is(err, stop):
		return fmt.Errorf("emit has failed, but Cover returns %v instead of its error", err)
	}
	return nil
}
