package vnodetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// replicas is how many nodes run the commands, each on its own and some of them
// only, so that versions arise that have not seen each other.
const replicas = 3

// runs reports whether the replica runs command i: the first runs all of them, the
// others take turns.
func (n nodeNumber) runs(i int) bool { return n == 0 || i%(replicas-1) == int(n)-1 }

// recordKey names a record in the whole service.
type recordKey struct {
	partition ring.Partition
	key       string
}

// checkMerge merges the versions of each record, as they are on all replicas, with each other.
func checkMerge(s *suite) error {
	if _, ok := s.service.New(0).(vnodes.Merger); !ok {
		return nil
	}
	found := make(map[recordKey][]vnodes.Record)
	for number := range nodeNumber(replicas) {
		err := s.withNode(number, number.runs, func(_ *node, outcomes []outcome) error {
			for i := range outcomes {
				for _, w := range outcomes[i].effect {
					k := recordKey{partitionOf(&s.in.Commands[i]), string(w.Key)}
					found[k] = append(found[k], w.Record)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return errors.New("no command has written a record, so that Merge cannot be checked")
	}
	for k, all := range found {
		m := merging{key: []byte(k.key), merger: s.service.New(k.partition).(vnodes.Merger)}
		if err := m.check(spread(all)); err != nil {
			return fmt.Errorf("merge versions of %q in partition %d: %w", k.key, k.partition, err)
		}
	}
	return nil
}

// spread thins out versions, from the first to the last: all triples of them are merged.
func spread(all []vnodes.Record) []vnodes.Record {
	const most = 9
	if len(all) <= most {
		return all
	}
	picked := make([]vnodes.Record, most)
	for i := range picked {
		picked[i] = all[i*(len(all)-1)/(most-1)]
	}
	return picked
}

// merging merges versions of one record.
type merging struct {
	key    []byte
	merger vnodes.Merger
	impure error // once it has changed its arguments
}

// merge is the merger's, on copies that nobody else has.
func (m *merging) merge(a, b vnodes.Record) vnodes.Record {
	x, y, key := cloneRecord(a), cloneRecord(b), bytes.Clone(m.key)
	merged := cloneRecord(m.merger.Merge(key, x, y))
	if !sameRecord(&x, &a) || !sameRecord(&y, &b) || !bytes.Equal(key, m.key) {
		m.impure = fmt.Errorf("the merge of %s and %s changes what it was given", show(&a), show(&b))
	}
	return merged
}

// check tries the laws on all versions.
func (m *merging) check(versions []vnodes.Record) error {
	for _, a := range versions {
		if err := equalRecords("idempotent: a·a", m.merge(a, a), "a", a); err != nil {
			return fmt.Errorf("with a = %s: %w", show(&a), err)
		}
		for _, b := range versions {
			ab := m.merge(a, b)
			if err := equalRecords("commutative: a·b", ab, "b·a", m.merge(b, a)); err != nil {
				return fmt.Errorf("with a = %s, b = %s: %w", show(&a), show(&b), err)
			}
			for _, c := range versions {
				if err := equalRecords("associative: (a·b)·c", m.merge(ab, c), "a·(b·c)", m.merge(a, m.merge(b, c))); err != nil {
					return fmt.Errorf("with a = %s, b = %s, c = %s: %w", show(&a), show(&b), show(&c), err)
				}
			}
		}
	}
	return m.impure
}

func equalRecords(left string, a vnodes.Record, right string, b vnodes.Record) error {
	if sameRecord(&a, &b) {
		return nil
	}
	return fmt.Errorf("not %s = %s, but %s = %s", left, show(&a), right, show(&b))
}

func cloneRecord(r vnodes.Record) vnodes.Record {
	r.Value = bytes.Clone(r.Value)
	return r
}

// show is r for people.
func show(r *vnodes.Record) string {
	if r.Deleted() {
		return fmt.Sprintf("deleted at %s", showStamp(r.Stamp))
	}
	return fmt.Sprintf("%q at %s", brief(r.Value), showStamp(r.Stamp))
}

// showStamp writes a stamp as time, node and write; the suite's times differ in their middle.
func showStamp(s vnodes.Stamp) string { return fmt.Sprintf("%d.%x.%d", s.Time>>16, s.Node, s.ID) }

// describe is a command's writes for people.
func describe(writes []vnodes.Write) string {
	if len(writes) == 0 {
		return "nothing"
	}
	parts := make([]string, len(writes))
	for i := range writes {
		parts[i] = fmt.Sprintf("%q: %s", brief(writes[i].Key), show(&writes[i].Record))
	}
	return strings.Join(parts, ", ")
}
