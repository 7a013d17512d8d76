//go:build !linux || race

package socket

import "syscall"

// readNow and writeNow are the plain system calls: elsewhere than on Linux there is no other
// door, and the race detector takes what goes over a socket for a signal only if it sees these.
func readNow(fd uintptr, b []byte) (int, syscall.Errno) { return outcome(syscall.Read(int(fd), b)) }

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) { return outcome(syscall.Write(int(fd), b)) }

func outcome(n int, err error) (int, syscall.Errno) {
	switch errno := err.(type) { //nolint:errorlint // a bare errno
	case nil:
		return n, 0
	case syscall.Errno:
		return 0, errno
	default:
		return 0, syscall.EIO
	}
}
