package ringcore

import (
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
)

// repairMetrics count what reads have found to differ and what was done about it.
func repairMetrics(c dataplane.RepairCounts) []admin.Metric {
	counter := func(name, help string, value int64) admin.Metric {
		return admin.Metric{Name: name, Help: help, Value: float64(value), Counter: true}
	}
	return []admin.Metric{
		counter("read_repairs_total", "Reads whose replicas differed and were compared afterwards.", c.Compared),
		counter("read_repairs_dropped_total", "Such reads that found the queue of repairs full.", c.Dropped),
		counter("read_repairs_replicas_total", "Replicas that lacked something and got it from the others after a read.", c.Brought),
	}
}
