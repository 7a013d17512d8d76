package vnodes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Reconcile compares the records that replicas of partition p have read for the same
// query, each replica's as an effect. It returns, in the same order, the effect that
// brings each what it lacks of the others'; nil if that is nothing.
func (m *Manager) Reconcile(service uint32, p ring.Partition, records [][]byte) (effects [][]byte, err error) {
	svc := m.services[service]
	if svc == nil {
		return nil, wire.Errorf(wire.BadRequest, "unknown service")
	}
	_, err = m.guard(svc, p, func() ([]byte, error) {
		effects, err = svc.reconcile(records)
		return nil, err
	})
	return effects, err
}

func (s *service) reconcile(records [][]byte) (effects [][]byte, err error) {
	merged := make(map[string]Record)
	has := make([]map[string]Record, len(records))
	for i, b := range records {
		writes, err := ParseWrites(b)
		if err != nil {
			return nil, fmt.Errorf("records of replica %d: %w", i, err)
		}
		has[i] = make(map[string]Record, len(writes))
		for _, w := range writes {
			r, ok := merged[string(w.Key)]
			if ok {
				r = s.merge(w.Key, r, w.Record)
			} else {
				r = w.Record
			}
			merged[string(w.Key)], has[i][string(w.Key)] = r, w.Record
		}
	}
	keys := slices.Sorted(maps.Keys(merged))
	effects = make([][]byte, len(records))
	for i := range records {
		var lacks []Write
		for _, key := range keys {
			want := merged[key]
			if have, ok := has[i][key]; !ok || !sameRecord(&have, &want) {
				lacks = append(lacks, Write{Key: []byte(key), Record: want})
			}
		}
		if len(lacks) > 0 {
			effects[i] = AppendWrites(nil, lacks)
		}
	}
	return effects, nil
}
