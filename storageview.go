package ringcore

import (
	"fmt"
	"strings"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/vnodes"
)

// storageChecks say how the disk, the commit log and the stores do. A node whose
// disk has no room is ready all the same: it serves reads, and refuses writes with
// an error that says why.
func (c *core) storageChecks() []admin.Check {
	st, ok := c.vnodes.Stats()
	if !ok {
		return nil
	}
	disk := admin.Check{Name: "disk", OK: st.Space.Level == vnodes.Roomy, Detail: spaceDetail(&st.Space)}
	log := admin.Check{Name: "log", OK: true}
	if st.LogErr != nil {
		log.OK, log.Detail = false, "lost: nothing is acknowledged any more, the node stops: "+st.LogErr.Error()
	} else if err := c.vnodes.JournalErr(); err != nil {
		log.OK, log.Detail = false, "the journal is lost: nothing is acknowledged any more, the node stops: "+err.Error()
	}
	stores := admin.Check{Name: "stores", OK: len(st.FailedStores) == 0}
	if !stores.OK {
		stores.Detail = failedDetail(st.FailedStores)
	}
	return []admin.Check{disk, log, stores}
}

// spaceDetail says how much room there is, and what is refused.
func spaceDetail(s *vnodes.Space) string {
	if !s.Known {
		return "the system does not say how much is free"
	}
	mib := func(n int64) int64 { return n >> 20 }
	text := fmt.Sprintf("%d of %d MiB free; low below %d, critical below %d", mib(s.Free), mib(s.Total), mib(s.Low), mib(s.Critical))
	switch s.Level {
	case vnodes.Low:
		return text + ": partitions that would move here are refused; make room"
	case vnodes.Critical:
		return text + ": writes and partitions that would move here are refused, reads go on; make room, or let another node join and take partitions"
	}
	return text
}

// failedDetail names the stores that have failed, the first few of them.
func failedDetail(failed []vnodes.FailedStore) string {
	const named = 3
	var parts []string
	for _, f := range failed[:min(len(failed), named)] {
		parts = append(parts, fmt.Sprintf("%s: %v", f.Name, f.Err))
	}
	text := fmt.Sprintf("%d take no more writes until the node starts anew: %s", len(failed), strings.Join(parts, "; "))
	if len(failed) > named {
		text += "; …"
	}
	return text
}

// storageMetrics are the storage's gauges and counters.
func (c *core) storageMetrics() []admin.Metric {
	st, ok := c.vnodes.Stats()
	if !ok {
		return nil
	}
	all := []admin.Metric{
		gauge("disk_free_bytes", "Room on the disk of the data directory.", float64(st.Space.Free)),
		gauge("disk_total_bytes", "Size of the disk of the data directory.", float64(st.Space.Total)),
		gauge("disk_low_bytes", "Free room below which no partitions move here.", float64(st.Space.Low)),
		gauge("disk_critical_bytes", "Free room below which writes are refused.", float64(st.Space.Critical)),
		gauge("disk_level", "0: there is room, 1: low, 2: critical.", float64(st.Space.Level)),
		counter("disk_refused_total", "Commands, effects, chunks and sessions refused for want of room on the disk.", float64(st.Refused)),
		gauge("log_bytes", "Size of the commit log's segments.", float64(st.LogBytes)),
		gauge("log_failed", "1 if the commit log or the journal is lost.", oneIf(st.LogErr != nil || c.vnodes.JournalErr() != nil)),
		gauge("table_bytes", "Memory of records that are not in their files yet.", float64(st.TableBytes)),
		gauge("store_files_open", "Files of stores that are open.", float64(st.OpenFiles)),
		counter("checkpoints_total", "Checkpoints that succeeded.", float64(st.Checkpoints)),
		counter("checkpoints_failed_total", "Checkpoints that failed.", float64(st.CheckpointsFailed)),
		counter("checkpoint_seconds_total", "Time spent in checkpoints.", st.CheckpointTime.Seconds()),
		gauge("stores_failed", "Stores that take no more writes.", float64(len(st.FailedStores))),
	}
	const named = 16 // series; which they are is for a person
	for _, f := range st.FailedStores[:min(len(st.FailedStores), named)] {
		all = append(all, admin.Metric{
			Name: "store_failed", Help: "1 for a store that takes no more writes.", Value: 1, Labels: map[string]string{"store": f.Name},
		})
	}
	return all
}
