package vnodes

import (
	"os"
	"syscall"
)

// datasync is fdatasync, again if a signal came first.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}
