package vnodes

import (
	"time"

	"golang.org/x/sys/unix"
)

// doze is a time.Sleep that is exact to some ten microseconds: the runtime's timers are
// as late as a millisecond when nothing else runs. It keeps a thread, as a sync does.
func doze(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // it may be cut short, which does no harm
}
