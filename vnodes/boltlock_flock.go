//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vnodes

import (
	"os"
	"syscall"
)

// unlock gives up bbolt's lock on f. Closing f is not enough while it is mapped.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
