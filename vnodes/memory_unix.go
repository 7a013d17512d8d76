//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vnodes

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapMemory is n bytes outside the heap. Like make, it panics when there are none.
func mapMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("no memory for tables: %d bytes: %v", n, err))
	}
	return b
}

func unmapMemory(b []byte) { _ = unix.Munmap(b) } // it fails for what was not mapped only

// emptyMemory gives back what b holds; it may be used again.
func emptyMemory(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) } // it would hold it for longer

// mapFile is the first n bytes of f, as others write them.
func mapFile(f *os.File, n int64) ([]byte, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return b, nil
}
