package ringcore

import (
	"fmt"
	"strings"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/vnodes"
)

// faultsTold is how many damaged files a check names; it counts the others.
const faultsTold = 8

// faultCheck says which stored data is damaged. The node is ready all the same: it
// serves the rest, and the other replicas serve those partitions too.
func faultCheck(faults []vnodes.Fault) admin.Check {
	check := admin.Check{Name: "storage", OK: len(faults) == 0}
	var told []string
	for i, f := range faults {
		if i == faultsTold {
			told = append(told, fmt.Sprintf("and %d more", len(faults)-i))
			break
		}
		told = append(told, fmt.Sprintf("partition %d of service %s is %s (%s: %s)", f.Partition, f.Service, f.State, f.File, f.Reason))
	}
	check.Detail = strings.Join(told, "; ")
	return check
}

// faultMetrics count damage and what was done about it.
func faultMetrics(c vnodes.FaultCounts) []admin.Metric {
	return []admin.Metric{
		counter("scrub_records_total", "Stored records whose checksum the scrub has verified.", float64(c.Scrubbed)),
		counter("scrub_bytes_total", "Bytes of files and log that the scrub has read.", float64(c.ScrubbedBytes)),
		counter("scrub_passes_total", "Passes of the scrub over all files.", float64(c.Passes)),
		counter("storage_damage_found_total", "Files that were found damaged.", float64(c.Found)),
		counter("storage_repairs_done_total", "Slots that were rebuilt from other replicas after damage.", float64(c.Rebuilt)),
		counter("storage_repairs_failed_total", "Attempts to rebuild a damaged slot that came to nothing and are made again.", float64(c.Failed)),
		gauge("storage_slots_rebuilding", "Slots that are being rebuilt and do not answer here.", float64(c.Rebuilding)),
		gauge("storage_quarantined_files", "Damaged files that lie out of the way until their slot is rebuilt.", float64(c.Quarantined)),
	}
}
