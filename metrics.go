package ringcore

import (
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/vnodes"
)

func gauge(name, help string, value float64) admin.Metric {
	return admin.Metric{Name: name, Help: help, Value: value}
}

func counter(name, help string, value float64) admin.Metric {
	return admin.Metric{Name: name, Help: help, Value: value, Counter: true}
}

// oneIf is 1 for yes.
func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// repairMetrics count what reads have found to differ and what was done about it.
func repairMetrics(c dataplane.RepairCounts) []admin.Metric {
	return []admin.Metric{
		counter("read_repairs_total", "Reads whose replicas differed and were compared afterwards.", float64(c.Compared)),
		counter("read_repairs_dropped_total", "Such reads that found the queue of repairs full.", float64(c.Dropped)),
		counter("read_repairs_replicas_total", "Replicas that lacked something and got it from the others after a read.", float64(c.Brought)),
	}
}

// compareMetrics count what anti-entropy has done.
func compareMetrics(c vnodes.CompareCounts) []admin.Metric {
	return []admin.Metric{
		counter("anti_entropy_exchanges_total", "Partitions compared with all their replicas that were up.", float64(c.Done)),
		counter("anti_entropy_failed_total", "Comparisons that came to nothing and are made again.", float64(c.Failed)),
		counter("anti_entropy_records_compared_total", "Records listed because hash trees differed, or for a repair.", float64(c.Compared)),
		counter("anti_entropy_records_sent_total", "Records sent because another replica lacked them or had them older.", float64(c.Sent)),
		counter("anti_entropy_records_received_total", "Records received because this node's replica lacked them or had them older.", float64(c.Received)),
		counter("anti_entropy_records_late_total", "Records refused because they are older than all that replicas have compared.", float64(c.Late)),
		counter("anti_entropy_floors_raised_total", "Floors of partitions raised: tombstones below the one before are removed.", float64(c.Floors)),
		gauge("anti_entropy_oldest_seconds", "Since the partition that was compared here longest ago.", c.Oldest.Seconds()),
	}
}
