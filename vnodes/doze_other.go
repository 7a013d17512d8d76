//go:build !linux

package vnodes

import "time"

// doze waits for about d.
func doze(d time.Duration) { time.Sleep(d) }
