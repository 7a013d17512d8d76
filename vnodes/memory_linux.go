package vnodes

import "golang.org/x/sys/unix"

// largePages asks for large pages for b, where the system leaves that to the asking.
func largePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
