package vnodes

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// writeBack has the system begin to write n bytes at offset at of f to the disk. It
// is a hint: what was refused is left to datasync.
func writeBack(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
