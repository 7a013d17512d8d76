//go:build !race

package socket

import (
	"syscall"
	"unsafe"
)

// readNow and writeNow call the kernel on a socket that never makes anybody wait, behind
// the scheduler's back.
func readNow(fd uintptr, b []byte) (int, syscall.Errno) { return callNow(syscall.SYS_READ, fd, b) }

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) { return callNow(syscall.SYS_WRITE, fd, b) }

func callNow(what, fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(what, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
