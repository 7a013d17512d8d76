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

// checkMerge merges the versions of each record, as they are on all replicas, with each
// other, and each with the one that replaced it.
func checkMerge(s *suite) error {
	if _, ok := s.service.New(0).(vnodes.Merger); !ok {
		return nil
	}
	found := make(map[recordKey][]vnodes.Record)
	var replaced []replacement
	for number := range nodeNumber(replicas) {
		err := s.withNode(number, number.runs, func(_ *node, outcomes []outcome) error {
			last := make(map[recordKey]vnodes.Record)
			for i := range outcomes {
				for _, w := range outcomes[i].effect {
					k := recordKey{partitionOf(&s.in.Commands[i]), string(w.Key)}
					if old, ok := last[k]; ok {
						replaced = append(replaced, replacement{k, i, old, w.Record})
					}
					last[k] = w.Record
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
		if err := s.merging(k).check(spread(all)); err != nil {
			return fmt.Errorf("merge versions of %q in partition %d: %w", k.key, k.partition, err)
		}
	}
	for i := range replaced {
		if err := s.checkReplaced(&replaced[i]); err != nil {
			return fmt.Errorf("%s: %w", title("command", replaced[i].by, &s.in.Commands[replaced[i].by]), err)
		}
	}
	return nil
}

// replacement is a record that a command has put in the place of an older one.
type replacement struct {
	recordKey
	by        int // the command's number
	old, next vnodes.Record
}

// checkReplaced checks that the new record contains the old one: a replica that still
// has that must not change what the others make of both.
func (s *suite) checkReplaced(r *replacement) error {
	m := s.merging(r.recordKey)
	for _, merged := range []vnodes.Record{m.merge(r.old, r.next), m.merge(r.next, r.old)} {
		if err := equalRecords("the merge of a record with the one that a command has replaced it by", merged, "the latter", r.next); err != nil {
			return err
		}
	}
	return m.impure
}

func (s *suite) merging(k recordKey) *merging {
	return &merging{
		key: []byte(k.key), merger: s.service.New(k.partition).(vnodes.Merger), other: s.service.New(k.partition).(vnodes.Merger),
	}
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
	other  vnodes.Merger // of another vnode
	impure error         // the first sign that a merge is no function of its arguments, or changes them
}

// sameAgain is how often each merge is done again: what depends on chance differs soon.
const sameAgain = 3

// merge is the merger's, on copies that nobody else has.
func (m *merging) merge(a, b vnodes.Record) vnodes.Record {
	x, y, key := cloneRecord(a), cloneRecord(b), bytes.Clone(m.key)
	merged := cloneRecord(m.merger.Merge(key, x, y))
	if !sameRecord(&x, &a) || !sameRecord(&y, &b) || !bytes.Equal(key, m.key) {
		m.impure = fmt.Errorf("the merge of %s and %s changes what it was given", show(&a), show(&b))
	}
	for range sameAgain {
		again := m.other.Merge(bytes.Clone(m.key), cloneRecord(a), cloneRecord(b))
		if m.impure == nil && !sameRecord(&again, &merged) {
			m.impure = fmt.Errorf("the merge of %s and %s is %s, then %s: it must depend on nothing else", show(&a), show(&b), show(&merged), show(&again))
		}
	}
	return merged
}

// check tries the laws on all versions.
func (m *merging) check(versions []vnodes.Record) error {
	for _, a := range versions { // first: else any law may seem broken
		for _, b := range versions {
			if m.merge(a, b); m.impure != nil {
				return m.impure
			}
		}
	}
	for _, a := range versions {
		if err := equalRecords("idempotent: a·a", m.merge(a, a), "a", a); err != nil {
			return fmt.Errorf("with a = %s: %w", show(&a), err)
		}
		for _, b := range versions {
			ab := m.merge(a, b)
			if newer := a.Newer(b).Stamp; ab.Stamp != newer {
				return fmt.Errorf("the merge of %s and %s has the stamp %s, not that of the newer one", show(&a), show(&b), showStamp(ab.Stamp))
			}
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
	return nil
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
