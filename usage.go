package ringcore

import (
	"runtime/metrics"
	"syscall"
)

// usage is what this process has taken: CPU seconds since its start, and the memory that it
// has from the system now. Nodes in one process all tell the same.
func usage() (cpu float64, memory int64) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		cpu = float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(m)
	return cpu, int64(m[0].Value.Uint64() - m[1].Value.Uint64())
}
