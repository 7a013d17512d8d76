//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package vnodes

import "os"

// mapMemory is n bytes.
func mapMemory(n int) []byte { return make([]byte, n) }

func unmapMemory([]byte) {}
func emptyMemory([]byte) {}

// mapFile is a copy of the first n bytes of f.
func mapFile(f *os.File, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := f.ReadAt(b, 0)
	return b, err
}
